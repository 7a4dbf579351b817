"""One reduction: from contract and committed state to the new state, durable with its intents."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from google.protobuf.message import DecodeError, Message

from onex.v1 import reducer_pb2
from onex_grpc.context import current_call
from onex_grpc.contract.action import reduction_hash
from onex_grpc.contract.data import pack
from onex_grpc.errors import (
    AlreadyExistsError,
    ConcurrentModificationError,
    EpochMismatchError,
    StateConsistencyError,
)
from onex_grpc.reducer import intents as emitted
from onex_grpc.reducer.memory import KeyLocks, StateCache, Versioned
from onex_grpc.reducer.model import ReducerAction, Reduction
from onex_grpc.reducer.responses import check_answer, recorded_responses
from onex_grpc.store.keys import new_id
from onex_grpc.store.model import ActionRecord, Commit, Exact, Guard, RecordedAction, Replayed
from onex_grpc.store.old_repeats import OldRepeats
from onex_grpc.store.retention import DEFAULT_RETENTION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex.v1 import intent_pb2
    from onex_grpc.context import CallContext
    from onex_grpc.reducer.rules import ReducerRules
    from onex_grpc.store.protocol import StateStore
    from onex_grpc.store.retention import Retention
    from onex_grpc.telemetry import Span, Telemetry

S = TypeVar("S", bound=Message)

# Only other processes on the same store can change a key meanwhile. One that works off a queue of
# actions for it may be faster some dozens of times in a row.
_RUNS: Final = 200


@dataclass(frozen=True, slots=True)
class _Plan(Generic[S]):
    """What a run of the pure part has come to, before it is durable."""

    state: S
    output: reducer_pb2.ModelReducerOutput
    intents: list[intent_pb2.ModelIntent]


class ReductionEngine(Generic[S]):
    """Applies actions to the entities of one reducer, one at a time a key."""

    def __init__(
        self,
        rules: ReducerRules[S],
        store: StateStore,
        telemetry: Telemetry,
        largest: int,
        retention: Retention = DEFAULT_RETENTION,
    ) -> None:
        """Applies nothing yet.

        Args:
            rules: what is particular to the reducer.
            store: of states, intents and actions.
            telemetry: where the spans of intents go.
            largest: the limit of one message, in bytes, within which an answer must stay.
            retention: how long the store keeps the record of an action.
        """
        self._rules = rules
        self._store = store
        self._telemetry = telemetry
        self._largest = largest
        self._old_repeats = OldRepeats(retention.actions_us, "actions")
        self._locks = KeyLocks()
        self._cache: StateCache[S] = StateCache()

    async def reduce(
        self, contract: reducer_pb2.ModelContractReducer
    ) -> reducer_pb2.ModelReducerOutput:
        """Applies a checked contract; what it returns is durable, and the same for a repeat.

        Raises:
            AlreadyExistsError: the action id was used with other content.
            OutcomeUnknownError: a repeat so late that its record may have been removed.
            ContractValidationError: an unknown action or a wrong payload.
            TransitionError, GuardRejectedError: the state does not allow the action.
            ResourceExhaustedError: the new state, or what is said of it, is larger than a message.
            StateConsistencyError: the transition ended where it must not; damaged bytes.
            StaleFenceError, LeaseValidationError: the caller's lease is not the newest.
        """
        call = current_call()
        contract = _settled(contract, call)
        content = reduction_hash(contract)
        key = self._key(contract.reduction_config.state_key)
        # The header alone tells of a repeat; an author's issued_at may be as old as its data.
        issued_us = call.issued_us if call is not None else 0
        async with self._locks.hold(key):
            if self._old_repeats.includes(issued_us):
                return await self._recorded(contract, content, issued_us)
            for _ in range(_RUNS):
                try:
                    return await self._run(key, contract, content)
                except EpochMismatchError:
                    self._cache.drop(key)
                except BaseException:
                    # Also when cancelled: the commit may have happened all the same.
                    self._cache.drop(key)
                    raise
        raise ConcurrentModificationError(
            f"{key} changed {_RUNS} times while the action was applied; try again", retry_after=0.1
        )

    async def read(self, state_key: str) -> Versioned[S]:
        """The committed state of an entity; the initial one, at version 0, where there is none."""
        return await self._load(self._key(state_key))

    async def emitted_by(self, action_id: str) -> Sequence[str]:
        """The ids of the intents that an action emitted; none of one that was not carried out."""
        recorded = await self._store.find_action(self._rules.node, action_id)
        if recorded is None:
            return ()
        output = reducer_pb2.ModelReducerOutput.FromString(recorded.reply)
        return [intent.intent_id for intent in output.intents]

    async def _recorded(
        self, contract: reducer_pb2.ModelContractReducer, content: bytes, issued_us: int
    ) -> reducer_pb2.ModelReducerOutput:
        action_id = contract.action_id
        recorded = await self._store.find_action(self._rules.node, action_id)
        if recorded is None:
            raise self._old_repeats.refusal(f"action {action_id}", issued_us)
        return _reply(recorded, contract, content)

    async def _run(
        self, key: str, contract: reducer_pb2.ModelContractReducer, content: bytes
    ) -> reducer_pb2.ModelReducerOutput:
        cached = self._cache.get(key)
        before = cached or await self._load(key)
        try:
            plan = self._plan(before, contract)
        except Exception:
            # A repeat meets a state that its own first run has changed: it must not be refused.
            recorded = await self._store.find_action(self._rules.node, contract.action_id)
            if recorded is not None:
                return _reply(recorded, contract, content)
            if cached is not None and (await self._load(key)).version != cached.version:
                raise EpochMismatchError(f"{key} was changed by another process") from None
            raise
        return await self._commit(key, before.version, contract, content, plan)

    def _plan(self, before: Versioned[S], contract: reducer_pb2.ModelContractReducer) -> _Plan[S]:
        action = ReducerAction(
            name=contract.input_data.action,
            state_key=contract.reduction_config.state_key,
            action_id=contract.action_id,
            correlation_id=contract.correlation_id,
            issued_at=contract.issued_at.ToDatetime(UTC),
            data=contract.input_data.payload,
        )
        step = self._rules.apply(before.state, action)
        reduction: Reduction[S] = step.reduction
        intents = emitted.complete_intents(reduction.intents, action)
        output = reducer_pb2.ModelReducerOutput(
            correlation_id=contract.correlation_id,
            aggregated_data=pack(reduction.state),
            state_metadata=reducer_pb2.StateMetadata(
                previous_state=step.previous,
                new_state=step.new,
                transition=action.name,
                intents_emitted=len(intents),
                version=before.version + 1,
            ),
            intents=intents,
            responses=recorded_responses(reduction.responses, action, self._largest),
        )
        check_answer(output, action, self._largest)
        return _Plan(reduction.state, output, intents)

    async def _commit(
        self,
        key: str,
        version: int,
        contract: reducer_pb2.ModelContractReducer,
        content: bytes,
        plan: _Plan[S],
    ) -> reducer_pb2.ModelReducerOutput:
        call = current_call()
        state = plan.state.SerializeToString(deterministic=True)
        spans = emitted.start_spans(plan.intents, self._telemetry, call.traceparent if call else "")
        change = Commit(
            key=key,
            expect=Exact(version),
            state=state,
            state_type=self._rules.state_type.DESCRIPTOR.full_name,
            guard=_guard(call),
            kind=contract.input_data.action,
            intents=[
                emitted.queue_entry(intent, span.traceparent)
                for intent, span in zip(plan.intents, spans, strict=True)
            ],
            actions=[_record(self._rules.node, contract, content, call)],
            reply=plan.output.SerializeToString(deterministic=True),
        )
        try:
            outcome = await self._store.commit(change)
        except BaseException:
            _end(spans, "ABORTED")
            raise
        if isinstance(outcome, Replayed):
            _end(spans, "ALREADY_EXISTS")
            self._cache.drop(key)
            return _reply(outcome.action, contract, content)
        _end(spans, "OK")
        # A copy: what the transition returned may still be in the hands of its author.
        kept = self._rules.state_type.FromString(state)
        self._cache.put(key, Versioned(outcome.version, kept), len(state))
        return plan.output

    async def _load(self, key: str) -> Versioned[S]:
        row = await self._store.get_state(key)
        if not row.version:
            return Versioned(0, self._rules.initial())
        wanted = self._rules.state_type.DESCRIPTOR.full_name
        if row.state_type != wanted:
            raise StateConsistencyError(f"{key} holds a {row.state_type}, not a {wanted}")
        try:
            return Versioned(row.version, self._rules.state_type.FromString(row.state))
        except DecodeError:
            raise StateConsistencyError(f"{key} holds bytes that are no {wanted}") from None

    def _key(self, state_key: str) -> str:
        return f"{self._rules.node}/{state_key}"


def _settled(
    contract: reducer_pb2.ModelContractReducer, call: CallContext | None
) -> reducer_pb2.ModelContractReducer:
    """A copy with the action's id and time filled in, the same for every run of its transition."""
    settled = reducer_pb2.ModelContractReducer()
    settled.CopyFrom(contract)
    if call is not None:
        settled.action_id = settled.action_id or call.action_id
        settled.correlation_id = settled.correlation_id or call.correlation_id
    if not settled.HasField("issued_at"):
        issued_us = call.issued_us if call is not None else 0
        settled.issued_at.FromNanoseconds(issued_us * 1000 or time.time_ns())
    if not settled.action_id:
        settled.action_id = new_id(settled.issued_at.ToMicroseconds())
    return settled


def _guard(call: CallContext | None) -> Guard | None:
    if call is None or call.lease is None:
        return None
    return Guard(call.lease.workflow_id, call.lease.lease_id, call.lease.fence)


def _record(
    node: str,
    contract: reducer_pb2.ModelContractReducer,
    content: bytes,
    call: CallContext | None,
) -> ActionRecord:
    lease = call.lease if call else None
    return ActionRecord(
        scope=node,
        action_id=contract.action_id,
        content_hash=content,
        action_type=0,
        target=node,
        correlation_id=contract.correlation_id,
        issued_us=contract.issued_at.ToMicroseconds(),
        fence=lease.fence if lease else 0,
        epoch=call.epoch if call else None,
        lease_id=lease.lease_id if lease else "",
        # Kept so that the transition can be run again from the history.
        request=contract.SerializeToString(deterministic=True),
    )


def _reply(
    recorded: RecordedAction, contract: reducer_pb2.ModelContractReducer, content: bytes
) -> reducer_pb2.ModelReducerOutput:
    if recorded.content_hash != content:
        raise AlreadyExistsError(
            f"action_id {contract.action_id} was used with other content; take a new id",
            context={"action_id": contract.action_id},
        )
    return reducer_pb2.ModelReducerOutput.FromString(recorded.reply)


def _end(spans: list[Span], status: str) -> None:
    for span in spans:
        span.end(status)
