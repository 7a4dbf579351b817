"""The connection to one target: its channel, made anew when the certificates are replaced."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from onex_grpc.rpc.direct import DirectCalls

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from onex_grpc.rpc.outgoing import Peer
    from onex_grpc.rpc.tls import CertificateFiles

C = TypeVar("C")
_LOOK_EVERY: Final = 1.0


class Link:
    """The connection to one target.

    Attributes:
        peer: who is at its other end.
        direct: unary methods that pass grpc.aio by.
    """

    def __init__(
        self,
        peer: Peer,
        connect: Callable[[], grpc.aio.Channel],
        files: CertificateFiles | None = None,
    ) -> None:
        self.peer = peer
        self.direct = DirectCalls()
        self.channel = connect()
        self._connect = connect
        self._files = files
        self._look_at = 0.0
        # Calls in flight go on over the channel on which they began; idle channels disconnect.
        self._retired: list[grpc.aio.Channel] = []

    def bind(self, make: Callable[[grpc.aio.Channel], C]) -> Callable[[], C]:
        """A method of the channel, of the present one at each use."""
        if self._files is None:
            made = make(self.channel)
            return lambda: made
        return _Renewing(self, make)

    def renew(self) -> None:
        """Connects anew if the certificates were replaced; looks once a second."""
        now = time.monotonic()
        if self._files is None or now < self._look_at:
            return
        self._look_at = now + _LOOK_EVERY
        if self._files.renewed():
            self._retired.append(self.channel)
            self.channel = self._connect()

    async def close(self) -> None:
        """Closes the connection; calls in flight fail."""
        self.direct.cancel()
        for channel in (self.channel, *self._retired):
            await channel.close()


class _Renewing(Generic[C]):
    def __init__(self, link: Link, make: Callable[[grpc.aio.Channel], C]) -> None:
        self._link = link
        self._make = make
        self._channel = link.channel
        self._made = make(link.channel)

    def __call__(self) -> C:
        self._link.renew()
        if self._channel is not self._link.channel:
            self._channel = self._link.channel
            self._made = self._make(self._channel)
        return self._made
