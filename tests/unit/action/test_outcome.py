"""Which kind a failure is, by reason and status: the same at home and over the wire."""

from __future__ import annotations

import grpc
import pytest

from onex_grpc import errors
from onex_grpc.action.outcome import Failure, failure_of, is_final, may_pass
from onex_grpc.errors import NodeUnavailableError, OnexError, WorkflowExecutionError
from onex_grpc.rpc.status import DETAILS_KEY, ForeignError, from_status, to_status

OF_REASONS = {
    errors.LeaseExpiredError: Failure.ENDS_TERM,
    errors.LeaseValidationError: Failure.ENDS_TERM,
    errors.LeaseRequiredError: Failure.ENDS_TERM,
    errors.StaleFenceError: Failure.ENDS_TERM,
    errors.UnavailableError: Failure.DELAYS,
    errors.NodeUnavailableError: Failure.DELAYS,
    errors.DatabaseConnectionError: Failure.DELAYS,
    errors.CircuitOpenError: Failure.DELAYS,
    errors.DeadlineExceededError: Failure.DELAYS,
    errors.LeaseConflictError: Failure.DELAYS,
    errors.StateConsistencyError: Failure.DELAYS,
    OnexError: Failure.PAUSES,
    errors.StoreError: Failure.PAUSES,
    errors.UnimplementedError: Failure.PAUSES,
    errors.TargetNotFoundError: Failure.PAUSES,
    errors.VersionIncompatibleError: Failure.PAUSES,
    errors.FlowViolationError: Failure.PAUSES,
    errors.OutcomeUnknownError: Failure.FINAL,
    errors.EpochMismatchError: Failure.FINAL,
    errors.TransactionError: Failure.FINAL,
    errors.TransitionError: Failure.FINAL,
    errors.GuardRejectedError: Failure.FINAL,
    errors.ContractValidationError: Failure.FINAL,
    errors.AlgorithmNotFoundError: Failure.FINAL,
    errors.AlreadyExistsError: Failure.FINAL,
    errors.OperationRefusedError: Failure.FINAL,
    errors.ActionExpiredError: Failure.FINAL,
    errors.ResourceExhaustedError: Failure.FINAL,
}


def over_the_wire(error: OnexError) -> OnexError:
    error.node = "compute/main"
    wire = to_status(error)
    return from_status(wire.code, wire.message, dict(wire.trailing_metadata)[DETAILS_KEY])


@pytest.mark.parametrize("cls", OF_REASONS)
def test_the_kind_of_each_class_is_the_same_over_the_wire(cls: type[OnexError]) -> None:
    assert failure_of(cls("x")) is OF_REASONS[cls]
    assert failure_of(over_the_wire(cls("x"))) is OF_REASONS[cls]


def test_a_quota_that_says_when_it_is_refilled_delays() -> None:
    quota = errors.ResourceExhaustedError("full", retry_after=1.0)
    assert failure_of(quota) is failure_of(over_the_wire(quota)) is Failure.DELAYS


def test_a_workflow_that_failed_is_final_whatever_its_first_cause_was() -> None:
    failed = WorkflowExecutionError("failed", causes=[NodeUnavailableError("away")])
    assert failed.status is errors.Status.UNAVAILABLE
    assert failure_of(failed) is failure_of(over_the_wire(failed)) is Failure.FINAL


@pytest.mark.parametrize("code", ["INTERNAL", "UNKNOWN", "CANCELLED"])
def test_a_bare_status_of_the_transport_delays_and_a_nodes_own_does_not(code: str) -> None:
    status = grpc.StatusCode[code]
    assert failure_of(from_status(status, "stream was reset", None)) is Failure.DELAYS
    own = over_the_wire(ForeignError("my own", errors.Status[code], "MY_OWN"))
    assert failure_of(own) is not Failure.DELAYS


def test_a_users_own_class_goes_by_its_status() -> None:
    class ShopClosedError(errors.UnavailableError):
        reason = "SHOP_CLOSED"

    class OutOfStockError(OnexError):
        reason = "OUT_OF_STOCK"
        default_status = errors.Status.FAILED_PRECONDITION

    assert failure_of(ShopClosedError("until nine")) is Failure.DELAYS
    assert failure_of(OutOfStockError("none left")) is Failure.FINAL
    assert is_final(OutOfStockError("none left"))
    assert may_pass(ShopClosedError("until nine"))
    assert not is_final(OnexError("a fault of the node"))
