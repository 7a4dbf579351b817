"""The channel options that both sides of the mesh agree on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from onex_grpc.errors import ConfigurationError

MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""Default limit of one message, that of gRPC."""

METADATA_BYTES: Final = 8 * 1024
"""Limit of a call's metadata. gRPC refuses at random between its soft and its hard limit, so both
are this one."""

PENDING_CALLS: Final = 10_000
"""Default limit of calls that have arrived and whose handlers have not begun."""

Option = tuple[str, int | str]


@dataclass(frozen=True, slots=True)
class MessageLimit:
    """The limit of one message of a node, in bytes."""

    size: int = MESSAGE_BYTES


@dataclass(frozen=True, slots=True)
class ConcurrentCalls:
    """The limit of the calls that a node handles at a time."""

    limit: int = 1000


@dataclass(frozen=True, slots=True)
class Keepalive:
    """Pings on a connection, by which each side notices that the other is gone.

    Both sides of a mesh use the same values. A server disconnects a client that pings more often
    than it accepts, so `accepts_every` is at most half of `every`.

    Attributes:
        every: seconds without traffic after which a side pings.
        answer_within: seconds after which a ping without an answer ends the connection.
        accepts_every: seconds between pings that a server accepts from any client. The libraries
            for Go and Java ping every 10 s at the most.

    Raises:
        ConfigurationError: for values that would disconnect idle connections.
    """

    every: float = 20.0
    answer_within: float = 10.0
    accepts_every: float = 5.0

    def __post_init__(self) -> None:
        if not self.every >= 1.0:
            raise ConfigurationError(
                f"keepalive every {self.every} s: gRPC pings once a second at most; use 1 or more"
            )
        if not 0 < self.accepts_every <= self.every / 2:
            raise ConfigurationError(
                f"keepalive accepts_every {self.accepts_every} s: pings come every {self.every} s, "
                f"and early ones end the connection; use more than 0 and at most {self.every / 2}"
            )
        if not self.answer_within > 0:
            raise ConfigurationError(
                f"keepalive answer_within {self.answer_within} s: use more than 0"
            )

    def ping_options(self) -> list[Option]:
        """Return the options of the side that pings, with or without calls."""
        timeout = _milliseconds(self.answer_within)
        return [
            ("grpc.keepalive_time_ms", _milliseconds(self.every)),
            ("grpc.keepalive_timeout_ms", timeout),
            # Of a peer that is stopped, not unreachable, only this ends the wait; else a minute.
            ("grpc.http2.ping_timeout_ms", timeout),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
        ]

    def accept_options(self) -> list[Option]:
        """Return the options of a server that accepts pings."""
        interval = _milliseconds(self.accepts_every)
        return [("grpc.http2.min_ping_interval_without_data_ms", interval)]


KEEPALIVE: Final = Keepalive()
"""The default of both sides."""


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def common_options(message_bytes: int) -> list[Option]:
    """Limits that hold on both sides, for sending and receiving."""
    return [
        ("grpc.max_send_message_length", message_bytes),
        ("grpc.max_receive_message_length", message_bytes),
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES),
    ]


def server_options(message_bytes: int, keepalive: Keepalive, pending_calls: int) -> list[Option]:
    """Return the options of a server.

    Args:
        message_bytes: limit of one message.
        keepalive: as its clients have it.
        pending_calls: calls that may have arrived without their handlers having begun; gRPC breaks
            off those beyond.
    """
    return [
        *common_options(message_bytes),
        *keepalive.ping_options(),
        *keepalive.accept_options(),
        # On by default, a second server on the same port would silently take half of the calls.
        ("grpc.so_reuseport", 0),
        # Between the two limits gRPC drops calls at random; its own, 1,000 and 3,000, are a burst.
        ("grpc.server.max_pending_requests", pending_calls),
        ("grpc.server.max_pending_requests_hard_limit", pending_calls),
    ]


def client_options(message_bytes: int, keepalive: Keepalive, server_name: str) -> list[Option]:
    """Return the options of a channel, which finds a node that was restarted within half a second.

    Args:
        message_bytes: limit of one message.
        keepalive: as the servers have it.
        server_name: name that the server's certificate must have; its host where empty.
    """
    options: list[Option] = [
        *common_options(message_bytes),
        *keepalive.ping_options(),
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 500),
        ("grpc.min_reconnect_backoff_ms", 5_000),
    ]
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    return options
