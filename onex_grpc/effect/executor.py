"""Carries out effects: deadline, then idempotency, then repeats, then the attempt."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from onex.v1 import effect_pb2
from onex_grpc.context import CallContext, current_call
from onex_grpc.effect.audit import audit
from onex_grpc.effect.fences import Fences
from onex_grpc.effect.joining import Joining
from onex_grpc.effect.operation import EffectRequest, effect_request
from onex_grpc.effect.outcomes import Outcomes
from onex_grpc.effect.refusal import interrupted
from onex_grpc.effect.retry import Attempts
from onex_grpc.effect.target import Outcome
from onex_grpc.errors import DeadlineExceededError, OnexError, OutcomeUnknownError
from onex_grpc.intent.redrive import current_redrive
from onex_grpc.rpc.detail import reason_of
from onex_grpc.store.old_repeats import OldRepeats
from onex_grpc.store.retention import DEFAULT_RETENTION
from onex_grpc.telemetry import Span, SpanKind, Telemetry

if TYPE_CHECKING:
    from onex_grpc.effect.custom_target import CustomOperations
    from onex_grpc.effect.target import Plan
    from onex_grpc.effect.targets import EffectTargets
    from onex_grpc.store.protocol import Store
    from onex_grpc.store.retention import Retention

_OUTSIDE: Final = frozenset({"database", "custom"})
"""Operations that are calls of another system; the others are the node's own work."""


class EffectExecutor:
    """Carries out what contracts ask for, at the targets of one node.

    Args:
        targets: where effects happen; open.
        operations: the node's own operations.
        store: the node's own store: fences, and outcomes that targets do not keep.
        telemetry: records a span for each effect.
        retention: how long the store keeps an outcome.
    """

    def __init__(
        self,
        targets: EffectTargets,
        operations: CustomOperations,
        store: Store,
        telemetry: Telemetry,
        retention: Retention = DEFAULT_RETENTION,
    ) -> None:
        self._targets = targets
        self._operations = operations
        self._fences = Fences(store)
        self._outcomes = Outcomes(store)
        self._old_repeats = OldRepeats(retention.outcomes_us, "outcomes")
        self._joining = Joining()
        self._telemetry = telemetry

    async def execute(
        self, contract: effect_pb2.ModelContractEffect
    ) -> effect_pb2.ModelEffectOutput:
        """Carries out one effect.

        Raises:
            TargetNotFoundError: for a target that the settings lack.
            OperationRefusedError: for an operation that the target does not allow.
            DeadlineExceededError: when the time ran out and a repeat is harmless.
            OutcomeUnknownError: when it was interrupted on its way and must not be repeated; for a
                repeat so late that its record may have been removed.
        """
        call = current_call()
        config = contract.io_operation_config
        request = effect_request(
            contract.external_service_config.service_name,
            config.operation,
            config.idempotency_key,
            contract.correlation_id or (call.correlation_id if call is not None else ""),
            current_redrive(),
        )
        with self._span(request, call):
            return await self._audited(request, contract, call)

    def _span(self, request: EffectRequest, call: CallContext | None) -> Span:
        outside = request.operation.WhichOneof("operation") in _OUTSIDE
        return self._telemetry.start_span(
            f"effect {request.target or request.operation.custom.TypeName()}",
            SpanKind.CLIENT if outside else SpanKind.INTERNAL,
            parent=call.traceparent if call is not None else "",
            correlation_id=request.correlation_id,
        )

    async def _audited(
        self,
        request: EffectRequest,
        contract: effect_pb2.ModelContractEffect,
        call: CallContext | None,
    ) -> effect_pb2.ModelEffectOutput:
        started = time.monotonic()
        attempts: Attempts | None = None
        ending = "CANCELLED"
        try:
            plan, keeps_outcomes = self._plan(request)
            if plan.writes and call is not None and call.lease is not None:
                await self._fences.pass_with(call.lease)
            attempts = Attempts(plan, contract.retry_config)
            effect = self._in_time(request, attempts, keeps_outcomes, _limit(contract, call))
            outcome = await effect
            ending = "REPLAYED" if outcome.replayed else "OK"
        except OnexError as error:
            ending = reason_of(error)
            raise
        finally:
            count = attempts.count if attempts is not None else 0
            audit(request, ending, attempts=count, seconds=time.monotonic() - started)
        return _output(request, outcome, count, time.monotonic() - started)

    def _plan(self, request: EffectRequest) -> tuple[Plan, bool]:
        """The plan, and whether the target records keyed outcomes itself."""
        if not request.target and request.operation.HasField("custom"):
            return self._operations.plan(request), False
        target = self._targets.get(request.target)
        return target.plan(request), target.keeps_outcomes

    async def _in_time(
        self,
        request: EffectRequest,
        attempts: Attempts,
        keeps_outcomes: bool,
        limit: float | None,
    ) -> Outcome:
        # Who joins an effect that is under way learns how far that one came.
        underway = self._joining.attempts_of(request) or attempts
        try:
            async with asyncio.timeout(limit):
                if not request.key:
                    return await attempts.run()
                return await self._joining.run(
                    request, attempts, lambda: self._keyed(request, attempts, keeps_outcomes)
                )
        except TimeoutError:
            if attempts.outcome_unknown or underway.outcome_unknown:
                raise interrupted(request) from None
            last = attempts.last_error or underway.last_error
            causes = () if last is None else (last,)
            raise DeadlineExceededError(
                f"the effect at target {request.target!r} was not done within {limit:.3f} s; "
                "a repeat is harmless",
                causes=causes,
            ) from None
        except asyncio.CancelledError:
            if attempts.outcome_unknown or underway.outcome_unknown:
                # Whoever cancelled still learns that this must not be done again blindly.
                raise asyncio.CancelledError(interrupted(request)) from None
            raise

    async def _keyed(
        self, request: EffectRequest, attempts: Attempts, keeps_outcomes: bool
    ) -> Outcome:
        if keeps_outcomes:
            return await attempts.run()
        known = await self._outcomes.find(request)
        if known is not None:
            return known
        if not attempts.harmless:
            self._refuse_old(request)
        outcome = await (self._once(request, attempts) if attempts.only_once else attempts.run())
        # Shielded: what was done is recorded, even if nobody waits for it any more.
        return await asyncio.shield(self._outcomes.record(request, outcome))

    def _refuse_old(self, request: EffectRequest) -> None:
        call = current_call()
        # An operator who redrives an intent has looked at the target.
        if call is None or request.redrives or not self._old_repeats.includes(call.issued_us):
            return
        place = request.target or request.operation.custom.TypeName()
        what = f"the effect {place!r} under idempotency_key {request.key!r}"
        raise self._old_repeats.refusal(what, call.issued_us)

    async def _once(self, request: EffectRequest, attempts: Attempts) -> Outcome:
        # Noted before it begins: whoever comes after a crash must not begin again.
        begun = await self._outcomes.begin(request)
        if isinstance(begun, Outcome):
            return begun
        try:
            return await attempts.run()
        except BaseException as error:
            if not attempts.outcome_unknown and not isinstance(error, OutcomeUnknownError):
                await asyncio.shield(self._outcomes.undo(request, begun))
            raise


def _limit(contract: effect_pb2.ModelContractEffect, call: CallContext | None) -> float | None:
    """Seconds for the whole effect: the smaller of its own timeout and what the call has left."""
    config = contract.external_service_config
    limits = [config.timeout.ToTimedelta().total_seconds()] if config.HasField("timeout") else []
    remaining = call.remaining() if call is not None else None
    if remaining is not None:
        limits.append(remaining)
    return min(limits, default=None)


def _output(
    request: EffectRequest, outcome: Outcome, attempts: int, seconds: float
) -> effect_pb2.ModelEffectOutput:
    output = effect_pb2.ModelEffectOutput(
        correlation_id=request.correlation_id,
        operation_result=outcome.result,
        metadata=effect_pb2.EffectMetadata(
            target=request.target,
            attempts=0 if outcome.replayed else attempts,
            replayed=outcome.replayed,
        ),
    )
    output.metadata.execution_time.FromNanoseconds(round(seconds * 1e9))
    return output
