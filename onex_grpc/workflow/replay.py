"""What a handler that is run again gets for the steps that ended before.

A handler meets results in the order in which they are recorded, the first time and each time after
it, so that code which goes by what ends first takes the same way.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from onex.v1 import orchestrator_pb2
from onex_grpc.contract.canonical import canonical_digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

_SKIPPED: Final = orchestrator_pb2.STEP_STATUS_SKIPPED
_HASH_DIGITS: Final = 24
# Turns of the event loop in which whoever got a result may act on it before the next one is given.
# Each task between the step and the code that waits for it takes a few.
_HOPS: Final = 16
# Seconds after which a result is given although an earlier one was not asked for: by then the
# handler waits for something that is no step, or it has changed.
_PATIENCE: Final = 1.0


class StepNames:
    """Ids of a handler's steps: the same ones each time that it makes the same calls."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def name(self, rpc: str, request: Message) -> str:
        """The id of the next call of an rpc (`package.Service/Rpc`) with this request.

        Calls that have nothing but the request in common may come in any order; equal ones count.
        """
        call = f"{rpc}#{canonical_digest(request).hex()[:_HASH_DIGITS]}"
        self._seen[call] += 1
        return f"{call}.{self._seen[call]}"


def is_step(step_id: str) -> bool:
    """Whether an id is that of a handler's step, and not of a task delegated by ExecuteAction."""
    return "#" in step_id


class Replay:
    """The results of steps that ended under earlier leases."""

    def __init__(
        self,
        results: Sequence[orchestrator_pb2.WorkflowStepResult],
        *,
        patience: float = _PATIENCE,
    ) -> None:
        self._results = [result for result in results if is_step(result.step_id)]
        self._places = {result.step_id: place for place, result in enumerate(self._results)}
        self._asked: set[int] = set()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._given_up: list[asyncio.Future[None]] = []
        self._fresh: deque[asyncio.Future[None]] = deque()
        self._next = 0
        self._patience = patience
        self._giving: asyncio.Task[None] | None = None
        self._impatience: asyncio.TimerHandle | None = None

    @property
    def left(self) -> Sequence[str]:
        """Ids of the steps that were not asked for."""
        return [r.step_id for place, r in enumerate(self._results) if place not in self._asked]

    def knows(self, step_id: str) -> bool:
        """Whether the step has ended before."""
        return step_id in self._places

    async def result(self, step_id: str) -> orchestrator_pb2.WorkflowStepResult:
        """The result of a step that is known, when its turn has come.

        A step that the handler gave up has none: this then waits until it is given up again.
        """
        place = self._places[step_id]
        self._asked.add(place)
        loop = asyncio.get_running_loop()
        if self._results[place].status == _SKIPPED:
            self._given_up.append(loop.create_future())
            await self._given_up[-1]
        turn = self._waiting[place] = loop.create_future()
        self._give()
        try:
            await turn
        finally:
            self._waiting.pop(place, None)
        return self._results[place]

    async def deliver(self) -> None:
        """Returns when a result that was just recorded may be met: after those before it."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._fresh.append(turn)
        self._give()
        await turn

    async def settled(self) -> None:
        """Returns when all results have been given that are asked for and have their turn."""
        while self._giving is not None and not self._giving.done():
            await asyncio.wait((self._giving,))

    def close(self) -> None:
        """Gives nothing more; who still waits is cancelled."""
        for turn in (*self._waiting.values(), *self._given_up, *self._fresh):
            turn.cancel()
        if self._giving is not None:
            self._giving.cancel()
        if self._impatience is not None:
            self._impatience.cancel()

    def _give(self) -> None:
        if self._giving is None or self._giving.done():
            self._giving = asyncio.create_task(self._give_in_turn())

    async def _give_in_turn(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None
        while True:
            for _ in range(_HOPS):
                await asyncio.sleep(0)
            self._pass_over()
            # Below the next place are those that came after somebody lost patience.
            place = min(self._waiting, default=len(self._results))
            if place <= self._next and place in self._waiting:
                turn = self._waiting.pop(place)
                self._next = max(self._next, place + 1)
            elif self._fresh:
                turn = self._fresh.popleft()
            else:
                break
            if not turn.done():
                turn.set_result(None)
        if self._waiting:
            loop = asyncio.get_running_loop()
            self._impatience = loop.call_later(self._patience, self._lose_patience)

    def _pass_over(self) -> None:
        """Moves on past what nobody waits for: steps given up, and those whose waiting ended."""
        while self._next < len(self._results) and (
            self._results[self._next].status == _SKIPPED
            or (self._next in self._asked and self._next not in self._waiting)
        ):
            self._next += 1

    def _lose_patience(self) -> None:
        self._impatience = None
        if self._waiting:
            self._next = min(self._waiting)
            self._give()
