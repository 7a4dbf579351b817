"""What workers report, made durable together."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from onex.v1 import error_pb2, intent_pb2
from onex_grpc.intent.claims import Claim
from onex_grpc.rpc.detail import bound
from onex_grpc.store.model import IntentState
from onex_grpc.store.queue_rules import parse_claim

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onex_grpc.store.protocol import IntentStore

_log = logging.getLogger(__name__)

_MOST: Final = 1000
_MOST_BYTES: Final = 1024 * 1024
"""So much is settled at once; a worker that reports more is heard once that is done."""

LOST: Final = intent_pb2.INTENT_STATUS_UNSPECIFIED
"""The status that says that a claim was no longer the worker's."""


class Reports:
    """The reports of one stream: those that arrive during a commit share the next one.

    Args:
        store: keeps them.
        claims: what the stream's worker holds; a settled claim leaves it.
        visibility_us: how long an extended claim lasts.
        tell: hears of each settled claim token and its status.
    """

    def __init__(
        self,
        store: IntentStore,
        claims: dict[str, Claim],
        visibility_us: int,
        tell: Callable[[str, intent_pb2.IntentStatus.ValueType], None],
    ) -> None:
        self._store = store
        self._claims = claims
        self._visibility_us = visibility_us
        self._tell = tell
        self._arrived = asyncio.Event()
        self._last = False
        self._count = 0
        self._bytes = 0
        self._below = asyncio.Event()
        self._below.set()
        self._completed: list[str] = []
        self._extended: list[str] = []
        self._failed: list[intent_pb2.TakeIntentsFail] = []

    async def accept_more(self) -> None:
        """Return when a further report may be taken, if too many are being settled."""
        await self._below.wait()

    def complete(self, report: intent_pb2.TakeIntentsComplete) -> None:
        """Take the report of an executed intent."""
        self._completed.append(report.claim_token)
        self._arrive(0)

    def extend(self, report: intent_pb2.TakeIntentsExtend) -> None:
        """Take the wish for more time."""
        self._extended.append(report.claim_token)
        self._arrive(0)

    def fail(self, report: intent_pb2.TakeIntentsFail) -> None:
        """Take the report of a failed attempt."""
        self._failed.append(report)
        self._arrive(report.ByteSize())

    def no_more(self) -> None:
        """Make `settle` return after what has arrived."""
        self._last = True
        self._arrived.set()

    async def settle(self) -> None:
        """Settle the reports as they arrive, until the last one."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            # Taken together: what arrives meanwhile must not overtake what it followed.
            extended, self._extended = self._extended, []
            completed, self._completed = self._completed, []
            failed, self._failed = self._failed, []
            # First: who wanted more time may have ended meanwhile, never the other way round.
            await self._settle_extended(extended)
            await self._settle_completed(completed)
            await self._settle_failed(failed)
            if not self._arrived.is_set():
                self._count = self._bytes = 0
                self._below.set()
                if self._last:
                    return

    def _arrive(self, size: int) -> None:
        self._arrived.set()
        self._count += 1
        self._bytes += size
        if self._count >= _MOST or self._bytes >= _MOST_BYTES:
            self._below.clear()

    async def _settle_completed(self, tokens: Sequence[str]) -> None:
        if not tokens:
            return
        done = await self._store.complete_intents(tokens)
        for token, is_done in zip(tokens, done, strict=True):
            self._claims.pop(token, None)
            self._tell(token, intent_pb2.INTENT_STATUS_COMPLETED if is_done else LOST)

    async def _settle_extended(self, tokens: Sequence[str]) -> None:
        if not tokens:
            return
        alive = await self._store.extend_intents(tokens, self._visibility_us)
        for token, is_alive in zip(tokens, alive, strict=True):
            if not is_alive:
                self._claims.pop(token, None)
            self._tell(token, intent_pb2.INTENT_STATUS_IN_FLIGHT if is_alive else LOST)

    async def _settle_failed(self, reports: Sequence[intent_pb2.TakeIntentsFail]) -> None:
        if reports:
            # At the same time, so that the store commits them together.
            await asyncio.gather(*(self._settle_failure(report) for report in reports))

    async def _settle_failure(self, report: intent_pb2.TakeIntentsFail) -> None:
        token = report.claim_token
        claim = await self._known(token)
        wait_us = None
        if not report.terminal:
            wait_us = round(claim.backoff.wait(claim.attempt) * 1_000_000)
        # A worker of another language may write what no page of the queue could hold.
        bound(report.error)
        state = await self._store.fail_intent(token, report.error.SerializeToString(), wait_us)
        self._claims.pop(token, None)
        if state is IntentState.DEAD:
            _log_dead(claim, report.error)
        self._tell(token, LOST if state is None else intent_pb2.IntentStatus.ValueType(state))

    async def _known(self, token: str) -> Claim:
        """A claim; what another process has delivered is looked up, since it waits and is told of
        in its own way.
        """
        claim = self._claims.get(token)
        if claim is not None and claim.intent_id:
            return claim
        sequence, _ = parse_claim(token)
        rows = await self._store.list_intents(IntentState.IN_FLIGHT, sequence - 1, 1)
        if not rows or rows[0].sequence != sequence:
            return Claim(token)
        intent = intent_pb2.ModelIntent.FromString(rows[0].payload)
        return Claim.of(token, rows[0].attempts, intent)


def _log_dead(claim: Claim, error: error_pb2.ErrorDetail) -> None:
    _log.warning(
        "intent for %s is dead: %s %s",
        claim.target or "an unknown target",
        error.reason,
        error.message,
        extra={"intent_id": claim.intent_id, "correlation_id": claim.correlation_id},
    )
