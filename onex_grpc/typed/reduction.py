"""What the methods of a generated reducer return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from google.protobuf.message import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.typed.intent import Intent

S = TypeVar("S", bound=Message)
A = TypeVar("A")
I_co = TypeVar("I_co", bound="Intent[Any]", covariant=True)


@dataclass(frozen=True, slots=True)
class Reduction(Generic[S, A, I_co]):
    """The new state, the answer and the wished side effects of one action.

    Attributes:
        state: the new state of the entity.
        response: the response; a sequence of them for an rpc that answers with a stream.
        intents: of the rpcs that the contract declares in `emits`.
    """

    state: S
    response: A
    intents: Sequence[I_co] = ()
