"""What the methods of a generated reducer return."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from google.protobuf.message import Message

from onex_grpc.errors import OnexError
from onex_grpc.reducer.model import Reduction as ModelReduction
from onex_grpc.typed.intent import Intent, model_intent
from onex_grpc.typed.results import response_of, shown

if TYPE_CHECKING:
    from onex.v1 import intent_pb2
    from onex_grpc.typed.contract import Contract, Rpc

S = TypeVar("S", bound=Message)
A_co = TypeVar("A_co", covariant=True)
I_co = TypeVar("I_co", bound="Intent[Any]", covariant=True)


@dataclass(frozen=True, slots=True)
class Reduction(Generic[S, A_co, I_co]):
    """The new state, the answer and the wished side effects of one action.

    Attributes:
        state: the new state of the entity.
        response: the response; a sequence of them for an rpc that answers with a stream.
        intents: of the rpcs that the contract declares in `emits`.
    """

    state: S
    response: A_co
    intents: Sequence[I_co] = ()


def model_reduction(
    result: object, rpc: Rpc[Message, Message], contract: Contract, state_type: type[S]
) -> ModelReduction[S]:
    """What a method returned, as the reducer's engine takes it.

    Raises:
        OnexError: for anything but a Reduction of the right types; says what was returned.
    """
    who = f"{contract.service}.{rpc.method}"
    if inspect.iscoroutine(result):
        # Else Python warns of it, far from here.
        result.close()
    if not isinstance(result, Reduction):
        raise OnexError(f"{who} returned {shown(result)}; return a Reduction of onex_grpc.typed")
    state: object = result.state
    if not isinstance(state, state_type):
        wanted = state_type.DESCRIPTOR.full_name
        raise OnexError(f"{who} returned {shown(state)} as the state; give a {wanted}")
    return ModelReduction(
        state, _intents(who, result.intents, contract), _responses(result.response, rpc)
    )


def _responses(response: object, rpc: Rpc[Message, Message]) -> Sequence[Message]:
    if not rpc.response_streaming:
        return (response_of(rpc, response),)
    if not isinstance(response, Sequence):
        raise OnexError(
            f"{rpc.service}.{rpc.method} returned {shown(response)} as the response, which is a"
            f" stream; give a sequence of {rpc.response.DESCRIPTOR.full_name}, e.g. a list"
        )
    return [
        response_of(rpc, each, place=f"response {index}") for index, each in enumerate(response)
    ]


def _intents(who: str, intents: object, contract: Contract) -> Sequence[intent_pb2.ModelIntent]:
    if not isinstance(intents, Sequence):
        raise OnexError(f"{who} returned {shown(intents)} as the intents; give a sequence of them")
    made = []
    for index, intent in enumerate(intents):
        if not isinstance(intent, Intent):
            raise OnexError(
                f"{who} returned {shown(intent)} as intent {index}; make it with the generated"
                " constructors"
            )
        try:
            made.append(model_intent(intent, contract.emits))
        except OnexError as error:
            raise OnexError(f"intent {index} of {who} {error.message}") from None
    return made
