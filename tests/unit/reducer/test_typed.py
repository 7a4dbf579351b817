"""The pure part of generated reducers, tried without store or server, and what they refuse."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Never, cast

import pytest
from ledger.v1 import audit_pb2, ledger_pb2
from ledger.v1.audit_onex import AuditIntents
from ledger.v1.ledger_onex import LEDGER, LedgerReducer, TallyReducer

from onex.v1 import common_pb2, intent_pb2
from onex_grpc.errors import (
    ConfigurationError,
    ContractValidationError,
    GuardRejectedError,
    OnexError,
    ResourceExhaustedError,
    TransitionError,
)
from onex_grpc.reducer.model import ReducerAction
from onex_grpc.reducer.responses import recorded_responses
from onex_grpc.testing.pure import ISSUED_AT, bare_reducer, check_pure, reduce
from onex_grpc.typed import CRITICAL, Action, Intent, Reduction, RetryPolicy, StateMachine
from onex_grpc.typed.intent import model_intent
from tests.mesh.typed.ledger_nodes import Ledger, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

Account = ledger_pb2.Account
Tallied = Reduction[ledger_pb2.Tally, ledger_pb2.CountResponse, Never]
OPEN = Account(status=ledger_pb2.ACCOUNT_STATUS_OPEN, balance=2)
NOTE = "ledger.v1.AuditService/Note"
PURGE = "ledger.v1.AuditService/Purge"


def booking(amount: int, key: str = "a") -> ledger_pb2.BookRequest:
    return ledger_pb2.BookRequest(account_id=key, amount=amount)


def test_a_method_is_tried_like_a_served_one() -> None:
    ledger = bare_reducer(Ledger)

    reduction = reduce(ledger.book, OPEN, booking(5))

    assert reduction.state.balance == reduction.response.balance == 7
    assert [intent.request.text for intent in reduction.intents] == ["booked 5"]
    assert OPEN.balance == 2, "the state before is left alone"


def test_each_message_of_a_stream_is_tried_by_itself() -> None:
    ledger = bare_reducer(Ledger)

    request = ledger_pb2.SplitRequest(account_id="a", parts=2)

    assert [part.amount for part in reduce(ledger.split, OPEN, request).response] == [1, 1]


def test_guard_machine_and_key_are_those_of_the_contract() -> None:
    ledger = bare_reducer(Ledger)
    closed = Account(status=ledger_pb2.ACCOUNT_STATUS_CLOSED)

    with pytest.raises(GuardRejectedError, match="is not true"):
        reduce(ledger.book, OPEN, booking(-3))
    with pytest.raises(TransitionError, match="not possible in state ACCOUNT_STATUS_CLOSED"):
        reduce(ledger.book, closed, booking(1))
    with pytest.raises(ContractValidationError, match="account_id: has 0 characters"):
        reduce(ledger.book, OPEN, booking(1, key=""))


def test_a_new_entity_is_in_the_initial_state() -> None:
    ledger = bare_reducer(Ledger)

    assert reduce(ledger.book, ledger.initial_state(), booking(1)).state.balance == 1
    assert reduce(
        bare_reducer(Tally).count, ledger_pb2.Tally(), ledger_pb2.CountRequest(tally_id="t")
    ).response == ledger_pb2.CountResponse(count=1)


class Seen(Tally):
    seen: Action

    def count(
        self, state: ledger_pb2.Tally, request: ledger_pb2.CountRequest, action: Action
    ) -> Tallied:
        type(self).seen = action
        return super().count(state, request, action)


def test_time_and_ids_are_those_that_the_test_gives() -> None:
    request = ledger_pb2.CountRequest(tally_id="t")
    own = datetime(2030, 5, 1, tzinfo=UTC)

    reduce(bare_reducer(Seen).count, ledger_pb2.Tally(), request)
    assert (Seen.seen.issued_at, Seen.seen.state_key, Seen.seen.name) == (ISSUED_AT, "t", "Count")

    reduce(bare_reducer(Seen).count, ledger_pb2.Tally(), request, issued_at=own)
    assert Seen.seen.issued_at == own


class Random(Tally):
    def count(
        self, state: ledger_pb2.Tally, request: ledger_pb2.CountRequest, action: Action
    ) -> Tallied:
        return Reduction(state, ledger_pb2.CountResponse(count=random.getrandbits(32)))


class Meddling(Tally):
    def count(
        self, state: ledger_pb2.Tally, request: ledger_pb2.CountRequest, action: Action
    ) -> Tallied:
        request.tally_id = "another"
        return super().count(state, request, action)


class Counting(Tally):
    runs = 0

    def count(
        self, state: ledger_pb2.Tally, request: ledger_pb2.CountRequest, action: Action
    ) -> Tallied:
        type(self).runs += 1
        return Reduction(ledger_pb2.Tally(count=self.runs), ledger_pb2.CountResponse())


def test_what_is_pure_passes() -> None:
    assert check_pure(bare_reducer(Ledger).book, OPEN, booking(5)).state.balance == 7


@pytest.mark.parametrize(
    ("node", "says"),
    [
        (Random, "count is not pure: run twice, it gave another response"),
        (Counting, "count is not pure: run twice, it gave another state"),
        (Meddling, "count changed its request"),
    ],
)
def test_what_is_not_pure_is_found(node: type[Tally], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check_pure(
            bare_reducer(node).count, ledger_pb2.Tally(), ledger_pb2.CountRequest(tally_id="t")
        )


def test_only_methods_of_an_instance_can_be_tried() -> None:
    def book(state: Account, request: ledger_pb2.BookRequest, action: Action) -> Never:
        raise AssertionError

    with pytest.raises(ConfigurationError, match="no method for an rpc of a generated reducer"):
        reduce(book, OPEN, booking(1))


class Cheating(Ledger):
    gives: object = None

    def book(
        self, state: Account, request: ledger_pb2.BookRequest, action: Action
    ) -> Reduction[Account, ledger_pb2.BookResponse, Intent[audit_pb2.NoteRequest]]:
        return cast(
            "Reduction[Account, ledger_pb2.BookResponse, Intent[audit_pb2.NoteRequest]]", self.gives
        )


async def _coroutine() -> None:
    """What a plain def may hand back, when it calls an async one."""


ANSWER = ledger_pb2.BookResponse()
PURGING = AuditIntents.purge(audit_pb2.PurgeRequest(account_id="a"))
MIXED = Intent(rpc=NOTE, request=audit_pb2.PurgeRequest())


@pytest.mark.parametrize(
    ("gives", "says"),
    [
        (lambda: None, "book returned nothing; return a Reduction"),
        (_coroutine, "book returned a coroutine; return a Reduction"),
        (lambda: (OPEN, ANSWER), "book returned a tuple; return a Reduction"),
        (lambda: Reduction(ANSWER, ANSWER), "returned a ledger.v1.BookResponse as the state"),
        (lambda: Reduction(OPEN, OPEN), "returned a ledger.v1.Account as the response"),
        (lambda: Reduction(OPEN, [ANSWER]), "returned a list as the response"),
        (lambda: Reduction(OPEN, ANSWER, PURGING), "returned an Intent as the intents"),  # type: ignore[arg-type]
        (
            lambda: Reduction(OPEN, ANSWER, [intent_pb2.ModelIntent()]),  # type: ignore[type-var]
            "returned an onex.v1.ModelIntent as intent 0; make it with the generated constructors",
        ),
        (
            lambda: Reduction(OPEN, ANSWER, [PURGING]),
            f"intent 0 of ledger.v1.LedgerService.book asks for {PURGE}, which the contract does"
            f" not declare; .*declared: {NOTE}",
        ),
        (
            lambda: Reduction(OPEN, ANSWER, [MIXED]),
            "with a ledger.v1.PurgeRequest; its request is a ledger.v1.NoteRequest",
        ),
    ],
)
def test_what_is_returned_wrongly_is_named(gives: Callable[[], object], says: str) -> None:
    node = bare_reducer(Cheating)
    node.gives = gives()

    with pytest.raises(OnexError, match=says):
        reduce(node.book, OPEN, booking(1))


class WrongParts(Ledger):
    gives: object = None

    def split(
        self, state: Account, request: ledger_pb2.SplitRequest, action: Action
    ) -> Reduction[Account, list[ledger_pb2.SplitResponse], Intent[audit_pb2.NoteRequest]]:
        return Reduction(state, cast("list[ledger_pb2.SplitResponse]", self.gives))


@pytest.mark.parametrize(
    ("gives", "says"),
    [
        (ledger_pb2.SplitResponse(), "which is a stream; give a sequence of ledger.v1.SplitRes"),
        ([ANSWER], "returned a ledger.v1.BookResponse as response 0"),
    ],
)
def test_a_stream_of_responses_is_a_sequence(gives: object, says: str) -> None:
    node = bare_reducer(WrongParts)
    node.gives = gives

    with pytest.raises(OnexError, match=says):
        reduce(node.split, OPEN, ledger_pb2.SplitRequest(account_id="a"))


def test_an_intent_keeps_all_that_was_said() -> None:
    request = audit_pb2.NoteRequest(account_id="a", text="t")
    said = AuditIntents.note(
        request,
        priority=CRITICAL,
        idempotency_key="key",
        order_key="order",
        retry=RetryPolicy(max_retries=3),
    )

    made = model_intent(said, (NOTE,))

    assert made.payload.custom.TypeName() == "ledger.v1.NoteRequest"
    assert audit_pb2.NoteRequest.FromString(made.payload.custom.value) == request
    assert made.retry_policy == common_pb2.RetryPolicy(max_retries=3)
    assert (made.priority, made.idempotency_key, made.order_key) == (CRITICAL, "key", "order")
    assert (made.intent_type, made.target) == (intent_pb2.INTENT_TYPE_UNSPECIFIED, "")
    assert not model_intent(AuditIntents.note(request), (NOTE,)).HasField("retry_policy")


def _async_method() -> type:
    class Wrong(Ledger):
        async def book(self, state: Account, request: Message, action: Action) -> Never:  # type: ignore[override]
            raise AssertionError

    return Wrong


def _own_transition() -> type:
    class Wrong(Ledger):
        def transition(self, state: Account, action: Action) -> Never:  # type: ignore[misc]
            raise AssertionError

    return Wrong


def _other_kind() -> type:
    class Wrong(TallyReducer):
        contract = LEDGER
        machine: ClassVar[StateMachine | None] = LedgerReducer.machine

    return Wrong


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_async_method, r"Wrong.book must be a plain `def` that returns, for rpc .*Book"),
        (_own_transition, "Wrong overrides transition, which is final"),
        (_other_kind, "state machine: ledger.v1.Tally has no enum field 'status'"),
    ],
)
def test_what_cannot_be_a_reducer_is_refused_when_the_class_is_made(
    make: Callable[[], type], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        make()


def test_a_method_that_is_missing_is_named() -> None:
    class Half(LedgerReducer):
        pass

    with pytest.raises(TypeError, match="book"):
        bare_reducer(Half)


def test_responses_beyond_what_one_message_holds_are_refused() -> None:
    action = ReducerAction("Go", "k", "", "", ISSUED_AT, common_pb2.Data())
    large = audit_pb2.NoteRequest(text="x" * 500)

    assert len(recorded_responses([large], action, 1000)) == 1
    with pytest.raises(ResourceExhaustedError, match="the responses of Go have"):
        recorded_responses([large, large], action, 1000)
