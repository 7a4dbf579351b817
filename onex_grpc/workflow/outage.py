"""Nodes that are away: looks for their return, and wakes the steps that wait for it."""

from __future__ import annotations

import asyncio
import contextvars
import random
import uuid
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

from grpc_health.v1 import health_pb2, health_pb2_grpc

from onex_grpc.action.outcome import may_pass
from onex_grpc.context import CallContext, enter_call
from onex_grpc.errors import NodeUnavailableError, OnexError, TargetNotFoundError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from onex_grpc.rpc.client import Mesh

T = TypeVar("T")

_EVERY: Final = 1.0
"""Seconds from one look to the next, and that a look takes at most: the next one goes to where the
node is by then.
"""
_SPREAD: Final = 1.0
"""Seconds over which the steps that wait for a node are woken."""
# A call that could not reach its node counts as a look that found it away. More than so many in a
# row, while looks find it there, mean a fault that only the backoff is to answer.
_MOST_DOUBTS: Final = 3
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING


class _Health(Protocol):
    async def Check(
        self, request: health_pb2.HealthCheckRequest, *, timeout: float, wait_for_ready: bool
    ) -> health_pb2.HealthCheckResponse: ...


class Outage:
    """One node as the steps that wait for it see it, from its first failed call on.

    Attributes:
        returns: how often it has come back.
        turns: bounds the attempts that are made at the same time after a return.
    """

    def __init__(self, at_once: int) -> None:
        self.returns = 0
        self.turns = asyncio.Semaphore(at_once)
        self.users = 0
        self.looking: asyncio.Task[None] | None = None
        self._away = False
        self._doubts = 0
        self._waiting: dict[asyncio.Future[None], None] = {}

    @property
    def away(self) -> bool:
        """Whether the node was away when it was last looked at, or called."""
        return self._away

    async def returned(self, since: int, seconds: float) -> bool:
        """Return True when the node has come back since `returns` was as given, False after so
        many seconds without that.
        """
        if self.returns > since:
            return True
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[woken] = None
        try:
            async with asyncio.timeout(seconds):
                await woken
        except TimeoutError:
            return False
        finally:
            self._waiting.pop(woken, None)
        return True

    def doubt(self) -> None:
        """Note that a call could not reach the node."""
        if not self._away and self._doubts < _MOST_DOUBTS:
            self._doubts += 1
            self._away = True

    def note(self, *, serves: bool) -> None:
        """Note what a look has found; a return wakes all who wait, one after the other."""
        if not serves:
            self._away, self._doubts = True, 0
        elif self._away:
            self._away = False
            self.returns += 1
            self._wake()

    def _wake(self) -> None:
        loop = asyncio.get_running_loop()
        pause = _SPREAD / max(1, len(self._waiting))
        for place, woken in enumerate(self._waiting):
            loop.call_later(place * pause, _end_wait, woken)


class Outages:
    """The nodes that steps of this process wait for; each is looked at by one task.

    Args:
        mesh: by which the nodes are reached.
        at_once: how many attempts may be made at the same time at a node that has come back.
    """

    def __init__(self, mesh: Mesh, at_once: int) -> None:
        self._mesh = mesh
        self._at_once = at_once
        self._outages: dict[str, Outage] = {}

    def follow(self, target: str) -> Outage:
        """Look after a node, `kind` or `kind/name`, until `leave` is called."""
        outage = self._outages.get(target)
        if outage is None:
            outage = self._outages[target] = Outage(self._at_once)
            outage.looking = _apart(self._look(target, outage))
        outage.users += 1
        return outage

    def leave(self, target: str, outage: Outage) -> None:
        """End one `follow` of a node; the last one ends the looks at it."""
        outage.users -= 1
        if not outage.users and outage.looking is not None:
            outage.looking.cancel()
            del self._outages[target]

    def lacks(self, target: str) -> bool:
        """Return True where the mesh has no such node now."""
        try:
            self._mesh.require(target)
        except (TargetNotFoundError, NodeUnavailableError):
            return True
        return False

    async def serves(self, target: str) -> bool:
        """Look at a node, and return True where it serves now."""
        return await _apart(self._serves(target, wait=False))

    async def _look(self, target: str, outage: Outage) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            # The channel itself tells at once when a node that was away can be reached.
            outage.note(serves=await self._serves(target, wait=outage.away))
            await asyncio.sleep(began + _EVERY - loop.time())

    async def _serves(self, target: str, *, wait: bool) -> bool:
        _enter_unsampled()
        try:
            health = cast("_Health", self._mesh.stub(health_pb2_grpc.HealthStub, target))
            answer = await health.Check(
                health_pb2.HealthCheckRequest(), timeout=_EVERY, wait_for_ready=wait
            )
        except TargetNotFoundError:
            return False
        except OnexError as error:
            # Any answer but that of an outage comes from somebody who is there.
            return not may_pass(error)
        return answer.status == _SERVING


def _apart(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task outside of the call, and so of the lease and the trace, of the running one."""
    return asyncio.get_running_loop().create_task(work, context=contextvars.Context())


def _end_wait(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)


def _enter_unsampled() -> None:
    """Keep the looks out of the traces: one a second would bury everything else."""
    trace, span = random.getrandbits(128) or 1, random.getrandbits(64) or 1
    traceparent = f"00-{trace:032x}-{span:016x}-00"
    enter_call(CallContext(str(uuid.uuid4()), traceparent=traceparent))
