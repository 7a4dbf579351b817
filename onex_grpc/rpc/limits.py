"""The channel options that both sides of the mesh agree on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""Default limit of one message, that of gRPC."""

METADATA_BYTES: Final = 8 * 1024
"""Limit of a call's metadata. gRPC refuses at random between its soft and its hard limit, so both
are this one."""

Option = tuple[str, int | str]


@dataclass(frozen=True, slots=True)
class MessageLimit:
    """The limit of one message of a node, in bytes."""

    size: int = MESSAGE_BYTES


@dataclass(frozen=True, slots=True)
class CallLimit:
    """The limit of the calls that a node handles at a time."""

    concurrent: int = 1000


def common_options(message_bytes: int) -> list[Option]:
    """Limits that hold on both sides, for sending and receiving."""
    return [
        ("grpc.max_send_message_length", message_bytes),
        ("grpc.max_receive_message_length", message_bytes),
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES),
    ]


def server_options(message_bytes: int) -> list[Option]:
    """Options of a server: its pings find a client whose machine is gone within half a minute, and
    allow those of `client_options`.
    """
    return [
        *common_options(message_bytes),
        # On by default, a second server on the same port would silently take half of the calls.
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # Of a peer that is stopped, not unreachable, only this ends the wait; else a minute.
        ("grpc.http2.ping_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # Without these two, a client that pings as ours does is sent away (too_many_pings).
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
    ]


def client_options(message_bytes: int, server_name: str) -> list[Option]:
    """Options of a channel: pings find a dead peer within half a minute, and a node that was
    restarted is found again within half a second.
    """
    options: list[Option] = [
        *common_options(message_bytes),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # Of a peer that is stopped, not unreachable, only this ends the wait; else a minute.
        ("grpc.http2.ping_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 500),
        ("grpc.min_reconnect_backoff_ms", 5_000),
    ]
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    return options
