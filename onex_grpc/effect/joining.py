"""Effects with the same key at the same time are one effect."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from onex_grpc.effect.refusal import interrupted, key_reused
from onex_grpc.errors import DeadlineExceededError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from onex_grpc.effect.operation import EffectRequest
    from onex_grpc.effect.retry import Attempts
    from onex_grpc.effect.target import Outcome

_CLEANING_UP: Final = 1.0


@dataclass(slots=True, eq=False)
class _Shared:
    task: asyncio.Task[Outcome]
    content_hash: bytes
    attempts: Attempts
    waiting: int = 0


class Joining:
    """The keyed effects that are under way."""

    def __init__(self) -> None:
        self._shared: dict[tuple[str, str], _Shared] = {}

    def attempts_of(self, request: EffectRequest) -> Attempts | None:
        """How far the effect with the request's key has come; None where none is under way."""
        shared = self._shared.get((request.target, request.key)) if request.key else None
        return None if shared is None else shared.attempts

    async def run(
        self,
        request: EffectRequest,
        attempts: Attempts,
        effect: Callable[[], Coroutine[None, None, Outcome]],
    ) -> Outcome:
        """Runs an effect, or waits for the one with its key that is running.

        The effect goes on while anybody waits for it, and is cancelled when the last one leaves.

        Raises:
            AlreadyExistsError: when the key is that of another effect.
            OutcomeUnknownError: when the one before was given up and may have happened.
        """
        name = (request.target, request.key)
        while (shared := self._shared.get(name)) is not None and shared.task.cancelling():
            # Its callers gave it up: it comes to nothing for anybody, but has to end first.
            await asyncio.wait((shared.task,))
            if shared.attempts.outcome_unknown:
                raise interrupted(request)
        joined = shared is not None
        if shared is None:
            shared = _Shared(asyncio.create_task(effect()), request.content_hash, attempts)
            self._shared[name] = shared
            shared.task.add_done_callback(lambda task: self._ended(name, task))
        elif shared.content_hash != request.content_hash:
            raise key_reused(request)
        if not joined:
            return await _wait(shared)
        try:
            outcome = await _wait(shared)
        except DeadlineExceededError:
            # That was the time of the one who began it, and a repeat is harmless.
            return await self.run(request, attempts, effect)
        return replace(outcome, replayed=True)

    def _ended(self, name: tuple[str, str], task: asyncio.Task[Outcome]) -> None:
        del self._shared[name]
        if not task.cancelled():
            # Marks an error as seen: those who waited have it, and there may be nobody left.
            task.exception()


async def _wait(shared: _Shared) -> Outcome:
    shared.waiting += 1
    try:
        return await asyncio.shield(shared.task)
    except asyncio.CancelledError:
        if shared.waiting == 1 and not shared.task.done():
            shared.task.cancel()
            # So that the caller learns how far it came; one that does not heed its cancellation
            # goes on alone, and a repeat meets it here.
            await asyncio.wait((shared.task,), timeout=_CLEANING_UP)
        raise
    finally:
        shared.waiting -= 1
