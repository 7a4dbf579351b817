"""What an action answers, as it is recorded with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.contract.data import pack
from onex_grpc.errors import ResourceExhaustedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

    from onex.v1 import common_pb2, reducer_pb2
    from onex_grpc.reducer.model import ReducerAction


def recorded_responses(
    responses: Sequence[Message], action: ReducerAction, largest: int
) -> list[common_pb2.Data]:
    """The responses of one action, packed.

    One message must be able to bring all of them: a repeat is answered from one record.

    Args:
        responses: in their order.
        action: what they answer.
        largest: the limit of one message, in bytes.

    Raises:
        ResourceExhaustedError: for more than that; nothing has been written then.
    """
    packed = [pack(response) for response in responses]
    if (size := sum(each.ByteSize() for each in packed)) > largest:
        raise ResourceExhaustedError(
            f"the responses of {action.name} have {size} bytes, and at most {largest} are recorded"
            " with an action; answer less, nothing was written",
            context={"action": action.name},
        )
    return packed


def check_answer(
    output: reducer_pb2.ModelReducerOutput, action: ReducerAction, largest: int
) -> None:
    """Refuses a reduction whose answer no message could bring: its state could not be read either.

    Args:
        output: the answer.
        action: what it answers.
        largest: the limit of one message, in bytes.

    Raises:
        ResourceExhaustedError: for more than that; nothing has been written then.
    """
    if (size := output.ByteSize()) > largest:
        state = output.aggregated_data.ByteSize()
        raise ResourceExhaustedError(
            f"the answer of {action.name} has {size} bytes, of which the state of"
            f" {action.state_key} has {state}, and at most {largest} are kept; spread the state"
            " over several keys, nothing was written",
            context={"action": action.name, "state_key": action.state_key},
        )
