"""Keeps the status with which a server has ended a call that still has requests to send.

grpc.aio puts INTERNAL, "Internal error from Core", in the place of a status that has arrived when a
write fails because of it (https://github.com/grpc/grpc/issues/36066).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, cast

if TYPE_CHECKING:
    from onex_grpc.rpc.stream import RawStream

_INNER: Final = "_cython_call"


class _Call(Protocol):
    def done(self) -> bool: ...
    def set_internal_error(self, text: str) -> None: ...


class _Kept:
    """grpc's own call, whose first status stays."""

    def __init__(self, call: _Call) -> None:
        self._call = call

    def set_internal_error(self, text: str) -> None:
        """Ends a call that has not ended."""
        if not self._call.done():
            self._call.set_internal_error(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._call, name)


def keep_status(stream: RawStream) -> None:
    """Lets nothing replace the status of a call over the network; others need no such care."""
    inner = getattr(stream, _INNER, None)
    if hasattr(inner, "set_internal_error"):
        setattr(stream, _INNER, _Kept(cast("_Call", inner)))
