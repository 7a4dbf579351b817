"""The connection to one target, made anew when its certificates or its place are replaced."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from onex_grpc.errors import DeadlineExceededError, NodeUnavailableError
from onex_grpc.rpc.line import Line, Retired

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from onex_grpc.rpc.outgoing import Peer
    from onex_grpc.rpc.places import Places
    from onex_grpc.rpc.tls import CertificateFiles

C = TypeVar("C")
_LOOK_EVERY: Final = 1.0


class Link:
    """The connection to one target.

    Attributes:
        peer: who is at its other end.
        line: the present channel; None while it is not known where the target is.
        files: the certificates of the channel, if it has any.
    """

    def __init__(
        self,
        peer: Peer,
        connect: Callable[[str], grpc.aio.Channel],
        files: CertificateFiles | None = None,
        places: Places | None = None,
    ) -> None:
        """Connects, unless the place is to be found when the target is first called.

        Args:
            peer: who is at its other end, and where.
            connect: makes a channel to an address.
            files: the certificates of the channel.
            places: where the target is, from time to time elsewhere; None for always `peer`'s.
        """
        self.peer = peer
        self.line: Line | None = None if places is not None else Line(connect(peer.address))
        self._connect = connect
        self.files = files
        self._places = places
        self._look_at = 0.0
        # Calls in flight go on over the channel on which they began.
        self._retired = Retired()
        self._finding: set[asyncio.Future[str]] = set()

    def bind(self, make: Callable[[Line], C]) -> Callable[[], C]:
        """A method of the channel, of the present one at each use."""
        if self.files is None and self._places is None and self.line is not None:
            made = make(self.line)
            return lambda: made
        return _Renewing(self, make)

    def renew(self) -> None:
        """Connects anew if the certificates were replaced; looks once a second."""
        now = time.monotonic()
        if self.files is None or now < self._look_at:
            return
        self._look_at = now + _LOOK_EVERY
        if self.line is not None and self.files.renewed():
            self._retired.add(self.line)
            self.line = Line(self._connect(self.peer.address))

    def move(self) -> None:
        """Lets go of the channel if the target is elsewhere now; the next call finds it there."""
        if self.line is None or self._places is None:
            return
        if self._places.of(self.peer.target) != self.peer.address:
            self.leave()

    def leave(self) -> None:
        """Lets go of the channel; the next call looks where the target is."""
        if self.line is not None:
            self._retired.add(self.line)
            self.line = None

    async def arrive(self, timeout: float | None, wait_for_ready: bool | None) -> float | None:
        """Connects to where the target is.

        Args:
            timeout: seconds that the call may take.
            wait_for_ready: whether to wait until the target is somewhere.

        Returns:
            What is left of the timeout.

        Raises:
            NodeUnavailableError: when the target has left, or the registry does not answer.
            TargetNotFoundError: when nobody ever registered as the target, or several nodes of the
                bare kind.
            DeadlineExceededError: when the time runs out.
        """
        places = self._places
        if places is None:
            raise NodeUnavailableError(f"{self.peer} was not called: the mesh is closed")
        began = time.monotonic()
        found = asyncio.ensure_future(places.find(self.peer.target, wait=bool(wait_for_ready)))
        self._finding.add(found)
        found.add_done_callback(self._finding.discard)
        try:
            async with asyncio.timeout(timeout):
                address = await found
        except TimeoutError:
            raise DeadlineExceededError(
                f"{self.peer.target} was not found at {places.source} within {timeout:.3f} s"
            ) from None
        if self.line is None:
            self.peer.address = address
            self.line = Line(self._connect(address))
        return None if timeout is None else timeout - (time.monotonic() - began)

    async def close(self) -> None:
        """Closes the connection for good; calls in flight fail."""
        self._places = None
        for found in self._finding:
            found.cancel()
        if self.line is not None:
            await self.line.close()
        await self._retired.close()


class _Renewing(Generic[C]):
    def __init__(self, link: Link, make: Callable[[Line], C]) -> None:
        self._link = link
        self._make = make
        self._line: Line | None = None
        self._made: C | None = None

    def __call__(self) -> C:
        link = self._link
        if link.files is not None:
            link.renew()
        if self._made is None or self._line is not link.line:
            line = self._line = link.line
            if line is None:
                raise NodeUnavailableError(f"{link.peer} was not called: it is not there any more")
            self._made = line.counted(self._make(line))
        return self._made
