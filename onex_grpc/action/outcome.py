"""What the end of an action means for its repeats."""

from __future__ import annotations

from typing import Final

from onex_grpc.errors import (
    DeadlineExceededError,
    EpochMismatchError,
    LeaseExpiredError,
    LeaseRequiredError,
    LeaseValidationError,
    OnexError,
    OutcomeUnknownError,
    StaleFenceError,
    Status,
)

_LEASE_ERRORS: Final = (
    LeaseExpiredError,
    LeaseRequiredError,
    LeaseValidationError,
    StaleFenceError,
)
_FINAL: Final = frozenset(
    (
        Status.INVALID_ARGUMENT,
        Status.NOT_FOUND,
        Status.ALREADY_EXISTS,
        Status.PERMISSION_DENIED,
        Status.FAILED_PRECONDITION,
        Status.OUT_OF_RANGE,
        Status.UNIMPLEMENTED,
        Status.DATA_LOSS,
    )
)


def concerns_sender(error: OnexError) -> bool:
    """Whether a failure is due to the lease, the epoch or the deadline of who sent the action.

    Whoever sent the same action at the same time, such as the next holder, is not meant.
    """
    return isinstance(error, (*_LEASE_ERRORS, EpochMismatchError, DeadlineExceededError))


def is_final(error: OnexError) -> bool:
    """Whether a repeat of the same command would end the same way, so that the failure is recorded.

    An error of the lease is not: the next holder's repeat is to be executed. An unknown outcome is,
    since a blind repeat might do the effect twice.
    """
    if isinstance(error, _LEASE_ERRORS):
        return False
    return isinstance(error, OutcomeUnknownError) or error.status in _FINAL
