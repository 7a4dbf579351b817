"""What a transition gets and gives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from google.protobuf.message import Message

from onex_grpc.contract import data
from onex_grpc.contract.ids import derived_uuid7
from onex_grpc.errors import ContractValidationError, Violation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex.v1 import common_pb2, intent_pb2
    from onex_grpc.contract.data import JSON

S = TypeVar("S", bound=Message)
M = TypeVar("M", bound=Message)

PAYLOAD: Final = "input_data.payload"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ReducerAction:
    """The action that a transition applies, with all the time and ids that it may use.

    Attributes:
        name: the action, e.g. PLACE_ORDER.
        state_key: the entity that it is applied to.
        action_id: UUID text, unique for all time.
        correlation_id: UUID text of the whole course of calls.
        issued_at: the time, in UTC; a transition has no other clock.
        data: what the action brings along, as it came.
    """

    name: str
    state_key: str
    action_id: str
    correlation_id: str
    issued_at: datetime
    data: common_pb2.Data

    def message(self, message_type: type[M]) -> M:
        """The payload, which must be a message of this type.

        Raises:
            ContractValidationError: for anything else.
        """
        try:
            return data.unpack_as(self.data, message_type)
        except ContractValidationError as error:
            raise _in_payload(error) from None

    def value(self) -> Message | JSON:
        """The payload as JSON-like data (numbers are floats) or as a message; None without one.

        Raises:
            ContractValidationError: for a message of an unknown type or with damaged bytes.
        """
        try:
            return data.unpack(self.data)
        except ContractValidationError as error:
            raise _in_payload(error) from None

    def new_id(self, label: str) -> str:
        """A UUID for something that the transition creates: the same one each time it runs.

        Args:
            label: tells it from the other ids of this action.
        """
        return derived_uuid7(milliseconds(self.issued_at), self.action_id, label)


@dataclass(frozen=True, slots=True)
class Reduction(Generic[S]):
    """What a transition makes of state and action: the new state and the wished side effects.

    Attributes:
        state: the new state of the entity.
        intents: the wished side effects.
        responses: what the caller is told besides; recorded with the action, at most 4 MiB.
    """

    state: S
    intents: Sequence[intent_pb2.ModelIntent] = ()
    responses: Sequence[Message] = ()


def milliseconds(time: datetime) -> int:
    """Milliseconds since the Unix epoch."""
    # Not timestamp(), a float: the same instant must give the same number everywhere.
    return (time - _EPOCH) // timedelta(milliseconds=1)


def _in_payload(error: ContractValidationError) -> ContractValidationError:
    return ContractValidationError.of(
        *(Violation(PAYLOAD, fault.description) for fault in error.violations)
    )
