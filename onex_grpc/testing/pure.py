"""Tries methods of generated reducers without store and server, and whether they are pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from google.protobuf.message import Message

from onex_grpc.container import ModelONEXContainer
from onex_grpc.contract.canonical import canonical_bytes, same_content
from onex_grpc.contract.data import pack
from onex_grpc.errors import ConfigurationError
from onex_grpc.reducer.intents import complete_intents
from onex_grpc.reducer.model import ReducerAction
from onex_grpc.store.protocol import Store
from onex_grpc.typed.key import required_key
from onex_grpc.typed.reducer import TypedReducer
from onex_grpc.typed.reduction import Reduction, model_reduction

if TYPE_CHECKING:
    from onex_grpc.reducer.model import Reduction as ModelReduction
    from onex_grpc.typed.contract import Rpc
    from onex_grpc.typed.intent import Intent

S = TypeVar("S", bound=Message)
Q = TypeVar("Q", bound=Message)
A = TypeVar("A")
I = TypeVar("I", bound="Intent[Any]")  # noqa: E741
R = TypeVar("R", bound="TypedReducer[Any]")

Method = Callable[[S, Q, ReducerAction], Reduction[S, A, I]]
"""A method of a generated reducer, taken from an instance of it."""

ACTION_ID: Final = "0198c0de-0000-7000-8000-00000000ac70"
"""The action id that methods see in a try."""
CORRELATION_ID: Final = "0198c0de-0000-7000-8000-00000000c077"
"""The correlation id that methods see in a try."""
ISSUED_AT: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""The time that methods see in a try."""


def bare_reducer(reducer: type[R]) -> R:
    """An instance of a reducer that has neither a store nor a server, to try its methods."""
    container = ModelONEXContainer()
    container.register(Store, cast("Store", _NoStore()))
    return reducer(container)


def reduce(
    method: Method[S, Q, A, I],
    state: S,
    request: Q,
    *,
    action_id: str = ACTION_ID,
    issued_at: datetime = ISSUED_AT,
) -> Reduction[S, A, I]:
    """Applies one action as a served reducer would: key, guard, machine, method, result.

    Args:
        method: of an instance, e.g. `bare_reducer(Orders).place_order`.
        state: the state before; it is not changed.
        request: one message, also where the rpc takes a stream of them.
        action_id: UUID that the method sees.
        issued_at: the time that the method sees, in UTC.

    Raises:
        ContractValidationError: a request without a key, or against its constraints.
        TransitionError, GuardRejectedError: the state does not allow the action.
        StateConsistencyError: the method ended in a state that it must not.
        OnexError: it returned something else than it must.
    """
    return _Try(method, action_id, issued_at).run(state, request).said


def check_pure(
    method: Method[S, Q, A, I],
    state: S,
    request: Q,
    *,
    action_id: str = ACTION_ID,
    issued_at: datetime = ISSUED_AT,
) -> Reduction[S, A, I]:
    """Applies one action twice, each time to copies, and compares what came of it.

    Takes and returns the same as `reduce`, and raises the same.

    Raises:
        AssertionError: the two differ, or the request was changed; says in what.
    """
    attempt = _Try(method, action_id, issued_at)
    runs = []
    for _ in range(2):
        copy = type(request)()
        copy.CopyFrom(request)
        runs.append(attempt.run(state, copy))
        if not same_content(copy, request):
            raise AssertionError(f"{attempt.rpc.method} changed its request; leave it as it came")
    first, second = runs
    if differing := [name for name, part in first.parts.items() if part != second.parts[name]]:
        raise AssertionError(
            f"{attempt.rpc.method} is not pure: run twice, it gave another {differing[0]}; take"
            " time and ids from the action"
        )
    return first.said


@dataclass(frozen=True, slots=True)
class _Run(Generic[S, A, I]):
    said: Reduction[S, A, I]
    parts: dict[str, list[bytes]]


class _Try(Generic[S, Q, A, I]):
    """One method with the action that it sees."""

    def __init__(self, method: Method[S, Q, A, I], action_id: str, issued_at: datetime) -> None:
        node = getattr(method, "__self__", None)
        name = getattr(method, "__name__", "")
        rpcs = node.contract.rpcs if isinstance(node, TypedReducer) else ()
        found = [rpc for rpc in rpcs if rpc.method == name]
        if not found:
            raise ConfigurationError(
                f"{method!r:.200} is no method for an rpc of a generated reducer; give e.g."
                " bare_reducer(Orders).place_order"
            )
        self.rpc: Rpc[Message, Message] = found[0]
        self._method = method
        self._node = cast("TypedReducer[S]", node)
        self._action_id = action_id
        self._issued_at = issued_at

    def run(self, state: S, request: Q) -> _Run[S, A, I]:
        contract = self._node.contract
        action = ReducerAction(
            name=self.rpc.name,
            state_key=required_key(request, contract.key),
            action_id=self._action_id,
            correlation_id=CORRELATION_ID,
            issued_at=self._issued_at,
            data=pack(request),
        )
        said: list[Reduction[S, A, I]] = []

        def transition(own: S, settled: ReducerAction) -> ModelReduction[S]:
            said.append(self._method(own, request, settled))
            return model_reduction(said[0], self.rpc, contract, self._node.state_type)

        step = replace(self._node.rules, transition=transition).apply(state, action)
        reduction = step.reduction
        intents = complete_intents(reduction.intents, action)
        parts = {
            "state": [canonical_bytes(reduction.state)],
            "response": [canonical_bytes(each) for each in reduction.responses],
            "intent": [canonical_bytes(each) for each in intents],
        }
        return _Run(said[0], parts)


class _NoStore:
    def __getattr__(self, name: str) -> object:
        raise ConfigurationError(
            f"a bare reducer has no store for {name}; use LocalMesh where state is to be kept"
        )
