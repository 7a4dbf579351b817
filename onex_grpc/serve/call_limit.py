"""The limit of calls that a node handles at a time, and the queue of those beyond it."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from onex_grpc.errors import ResourceExhaustedError
from onex_grpc.serve.admissions import ABOUT, is_mechanism

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from onex_grpc.context import CallContext
    from onex_grpc.rpc.calls import CallRuntime, Method

QUEUED_PER_SLOT: Final = 9
"""The calls that may wait for each one that may run."""


class CallLimit:
    """Admits so many calls at a time; those beyond wait for their turn, first come first served.

    Calls of the mechanisms' services have as many places again: a node that verifies a token or
    takes an intent serves calls that run, and behind those that wait it would wait for itself.

    Args:
        runtime: what counts the calls.
        limit: calls that run at a time.
        patience: seconds that a call waits before it is refused. A bound, since calls that run may
            themselves need a call that waits.
    """

    def __init__(self, runtime: CallRuntime, limit: int, patience: float) -> None:
        self._runtime = runtime
        self._limit = limit
        self._patience = patience
        self._queue: deque[asyncio.Future[None]] = deque()
        runtime.on_room = self._admit_next

    def __call__(self, call: CallContext, method: Method) -> Awaitable[None] | None:
        """Admit a call now (None) or when it is its turn.

        Raises:
            ResourceExhaustedError: when too many calls wait already, or the wait is over.
        """
        if not self._queue and self._runtime.active <= self._limit:
            return None
        if method.service == ABOUT or self._is_mechanism_with_place(method):
            return None
        if not self._patience or len(self._queue) >= QUEUED_PER_SLOT * self._limit:
            raise self._refusal(f"and {len(self._queue)} wait")
        return self._wait()

    def _is_mechanism_with_place(self, method: Method) -> bool:
        return is_mechanism(method.service) and self._running <= 2 * self._limit

    @property
    def _running(self) -> int:
        return self._runtime.active - len(self._queue)

    def _admit_next(self) -> None:
        while self._queue and self._running < self._limit:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)

    async def _wait(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(self._patience):
                await turn
        except TimeoutError:
            # Its turn may have come in the same moment.
            if turn.cancelled():
                raise self._refusal(f"and none ended in {self._patience:g} s") from None
        finally:
            if turn.cancelled():
                with suppress(ValueError):
                    self._queue.remove(turn)

    def _refusal(self, why: str) -> ResourceExhaustedError:
        return ResourceExhaustedError(
            f"the node handles {self._limit} calls already (limits.concurrent_calls) {why}; "
            "try again, or call another replica",
            retry_after=0.1,
        )
