"""The table that tells the transient failures of a call from the final ones.

| kind | what |
|---|---|
| ENDS_TERM | the caller's lease has ended: no outcome of the step, whose next holder goes on |
| DELAYS | an outage: repeated without end, under the same action id |
| PAUSES | a fault that somebody must mend: of a node's code, its settings or its version |
| FINAL | an answer: a repeat would get it again |
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from onex_grpc.errors import DeadlineExceededError, EpochMismatchError, Status
from onex_grpc.rpc.status import is_bare, reason_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onex_grpc.errors import OnexError


class Failure(Enum):
    """The kind of a failure."""

    ENDS_TERM = "ends term"
    DELAYS = "delays"
    PAUSES = "pauses"
    FINAL = "final"


# Reasons that mean something else than their status does.
_BY_REASON: Final[Mapping[str, Failure]] = {
    "LEASE_EXPIRED": Failure.ENDS_TERM,
    "LEASE_VALIDATION": Failure.ENDS_TERM,
    "STALE_FENCE": Failure.ENDS_TERM,
    "LEASE_REQUIRED": Failure.ENDS_TERM,
    "LEASE_CONFLICT": Failure.DELAYS,
    "STATE_CONSISTENCY": Failure.DELAYS,
    "TARGET_NOT_FOUND": Failure.PAUSES,
    "VERSION_INCOMPATIBLE": Failure.PAUSES,
    "FLOW_VIOLATION": Failure.PAUSES,
    "OUTCOME_UNKNOWN": Failure.FINAL,
    # They have the status of their first cause, and are the end of a workflow all the same.
    "WORKFLOW_EXECUTION": Failure.FINAL,
    "PIPELINE": Failure.FINAL,
    "TRANSACTION": Failure.FINAL,
}
_BY_STATUS: Final[Mapping[Status, Failure]] = {
    Status.UNAVAILABLE: Failure.DELAYS,
    Status.DEADLINE_EXCEEDED: Failure.DELAYS,
    Status.INTERNAL: Failure.PAUSES,
    Status.UNKNOWN: Failure.PAUSES,
    Status.DATA_LOSS: Failure.PAUSES,
    Status.UNIMPLEMENTED: Failure.PAUSES,
    Status.UNAUTHENTICATED: Failure.PAUSES,
}
# What gRPC itself or a proxy says where the connection broke; of a node's own they are answers.
_BARE: Final[Mapping[Status, Failure]] = {
    Status.INTERNAL: Failure.DELAYS,
    Status.UNKNOWN: Failure.DELAYS,
    Status.CANCELLED: Failure.DELAYS,
    Status.PERMISSION_DENIED: Failure.PAUSES,
}


def failure_of(error: OnexError) -> Failure:
    """Return the kind of a failure, by its reason and status."""
    known = _BY_REASON.get(reason_of(error))
    if known is not None:
        return known
    if error.status is Status.RESOURCE_EXHAUSTED:
        # A quota says when it is refilled; a message that is too large never fits.
        return Failure.FINAL if error.retry_after is None else Failure.DELAYS
    if is_bare(error) and error.status in _BARE:
        return _BARE[error.status]
    return _BY_STATUS.get(error.status, Failure.FINAL)


def is_final(error: OnexError) -> bool:
    """Return True where a repeat of the same command would end the same way, so that the failure
    is recorded.
    """
    return failure_of(error) is Failure.FINAL


def may_pass(error: OnexError) -> bool:
    """Return True where the same operation may succeed later without anybody mending anything."""
    return failure_of(error) is Failure.DELAYS


def concerns_sender(error: OnexError) -> bool:
    """Return True for a failure of the sender's lease, epoch or deadline, which says nothing about
    the same action of another sender, such as the next holder.
    """
    return failure_of(error) is Failure.ENDS_TERM or isinstance(
        error, EpochMismatchError | DeadlineExceededError
    )
