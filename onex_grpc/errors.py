"""Every error of the mesh, its stable reason and the gRPC status with which it leaves a node.

OnexError                          INTERNAL, INTERNAL
├── ContractValidationError        INVALID_CONTRACT, INVALID_ARGUMENT
├── NotFoundError                  NOT_FOUND, NOT_FOUND
│   ├── AlgorithmNotFoundError     ALGORITHM_NOT_FOUND
│   ├── TargetNotFoundError        TARGET_NOT_FOUND
│   ├── WorkflowNotFoundError      WORKFLOW_NOT_FOUND
│   ├── LeaseNotFoundError         LEASE_NOT_FOUND
│   ├── HistoryNotFoundError       HISTORY_NOT_FOUND
│   └── FileMissingError           FILE_MISSING
├── AlreadyExistsError             ALREADY_EXISTS, ALREADY_EXISTS
├── OperationRefusedError          OPERATION_REFUSED, PERMISSION_DENIED
├── LeaseConflictError             LEASE_CONFLICT, ABORTED (+ RetryInfo)
├── LeaseValidationError           LEASE_VALIDATION, PERMISSION_DENIED
├── LeaseExpiredError              LEASE_EXPIRED, FAILED_PRECONDITION
├── StaleFenceError                STALE_FENCE, FAILED_PRECONDITION
├── LeaseRequiredError             LEASE_REQUIRED, FAILED_PRECONDITION
├── ActionExpiredError             ACTION_EXPIRED, FAILED_PRECONDITION
├── EpochMismatchError             EPOCH_MISMATCH, ABORTED
│   ├── ConcurrentModificationError  CONCURRENT_MODIFICATION
│   └── StateUpdateConflictError     STATE_UPDATE_CONFLICT
├── StateConsistencyError          STATE_CONSISTENCY, ABORTED
├── TransactionError               TRANSACTION, ABORTED
├── EventPositionError             EVENT_POSITION, OUT_OF_RANGE
│   └── EventPositionExpiredError    EVENT_POSITION_EXPIRED
├── TransitionError                ILLEGAL_TRANSITION, FAILED_PRECONDITION
│   └── GuardRejectedError         GUARD_REJECTED
├── DependencyResolutionError      DEPENDENCY_RESOLUTION, FAILED_PRECONDITION
│   ├── DependencyUnavailableError   DEPENDENCY_UNAVAILABLE
│   └── VersionIncompatibleError     VERSION_INCOMPATIBLE
├── WorkflowExecutionError         WORKFLOW_EXECUTION, that of the first cause
│   └── PipelineError              PIPELINE
├── UnavailableError               UNAVAILABLE, UNAVAILABLE
│   ├── DatabaseConnectionError    DATABASE_CONNECTION
│   ├── CircuitOpenError           CIRCUIT_OPEN
│   └── NodeUnavailableError       NODE_UNAVAILABLE
├── OutcomeUnknownError            OUTCOME_UNKNOWN, UNKNOWN
├── FlowViolationError             FLOW_VIOLATION, PERMISSION_DENIED
├── StoreInUseError                STORE_IN_USE, FAILED_PRECONDITION
├── StoreError                     STORE, INTERNAL
├── UnimplementedError             UNIMPLEMENTED, UNIMPLEMENTED
├── ResourceExhaustedError         RESOURCE_EXHAUSTED, RESOURCE_EXHAUSTED
├── DeadlineExceededError          DEADLINE_EXCEEDED, DEADLINE_EXCEEDED
├── CallCancelledError             CANCELLED, CANCELLED
└── ConfigurationError             CONFIGURATION, FAILED_PRECONDITION
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.onex_error import MOST_ERRORS, carried_reason, faults, kept_status
from onex_grpc.onex_error import OnexError as OnexError
from onex_grpc.onex_error import Status as Status
from onex_grpc.onex_error import Violation as Violation

if TYPE_CHECKING:
    from collections.abc import Iterator


class ContractValidationError(OnexError):
    """Raised when a message breaks its contract; `violations` names every fault at once."""

    reason = "INVALID_CONTRACT"
    default_status = Status.INVALID_ARGUMENT

    @classmethod
    def of(cls, *violations: Violation) -> ContractValidationError:
        """Return the error for these faults, its message listing them."""
        text = "; ".join(
            f"{v.field}: {v.description}" if v.field else v.description for v in faults(violations)
        )
        return cls(text, violations=violations)


class NotFoundError(OnexError):
    """Raised when what a call names does not exist."""

    reason = "NOT_FOUND"
    default_status = Status.NOT_FOUND


class AlgorithmNotFoundError(NotFoundError):
    """Raised when a compute node has no algorithm of the name asked for."""

    reason = "ALGORITHM_NOT_FOUND"


class TargetNotFoundError(NotFoundError):
    """Raised when neither an effect node's settings nor the mesh have a target of the name."""

    reason = "TARGET_NOT_FOUND"


class WorkflowNotFoundError(NotFoundError):
    """Raised when no workflow of the id was ever started."""

    reason = "WORKFLOW_NOT_FOUND"


class LeaseNotFoundError(NotFoundError):
    """Raised when nobody ever held a lease over the workflow."""

    reason = "LEASE_NOT_FOUND"


class HistoryNotFoundError(NotFoundError):
    """A state's history does not have this version or checkpoint."""

    reason = "HISTORY_NOT_FOUND"


class FileMissingError(NotFoundError):
    """Raised when a file, or a line of it, does not exist."""

    reason = "FILE_MISSING"


class AlreadyExistsError(OnexError):
    """Raised when an id that is unique for all time comes again with other content."""

    reason = "ALREADY_EXISTS"
    default_status = Status.ALREADY_EXISTS


class OperationRefusedError(OnexError):
    """Raised when the settings do not allow an operation."""

    reason = "OPERATION_REFUSED"
    default_status = Status.PERMISSION_DENIED


class LeaseConflictError(OnexError):
    """Raised when another holder has the lease; `retry_after` is the time it has left."""

    reason = "LEASE_CONFLICT"
    default_status = Status.ABORTED


class LeaseValidationError(OnexError):
    """Raised when a lease or its token is forged, altered or not that of the caller."""

    reason = "LEASE_VALIDATION"
    default_status = Status.PERMISSION_DENIED


class LeaseExpiredError(OnexError):
    """Raised when a lease has run out; acquire a new one."""

    reason = "LEASE_EXPIRED"
    default_status = Status.FAILED_PRECONDITION


class StaleFenceError(OnexError):
    """Raised when a newer holder has been seen; stop working on the workflow."""

    reason = "STALE_FENCE"
    default_status = Status.FAILED_PRECONDITION


class LeaseRequiredError(OnexError):
    """Raised when a node that requires a lease is called without one."""

    reason = "LEASE_REQUIRED"
    default_status = Status.FAILED_PRECONDITION


class ActionExpiredError(OnexError):
    """Raised when an action arrives after its expires_at; issue a new one."""

    reason = "ACTION_EXPIRED"
    default_status = Status.FAILED_PRECONDITION


class EpochMismatchError(OnexError):
    """Raised when the state has another epoch than expected; read it and issue the action anew."""

    reason = "EPOCH_MISMATCH"
    default_status = Status.ABORTED


class ConcurrentModificationError(EpochMismatchError):
    """Raised when the state changed between an action's issue and its arrival."""

    reason = "CONCURRENT_MODIFICATION"


class StateUpdateConflictError(EpochMismatchError):
    """Raised when the state changed while an update was being written."""

    reason = "STATE_UPDATE_CONFLICT"


class StateConsistencyError(OnexError):
    """Raised when stored state cannot be what was written."""

    reason = "STATE_CONSISTENCY"
    default_status = Status.ABORTED


class TransactionError(OnexError):
    """Raised when a transaction was rolled back; nothing of it remains."""

    reason = "TRANSACTION"
    default_status = Status.ABORTED


class EventPositionError(OnexError):
    """Raised when a subscription begins at a position that its log has not reached."""

    reason = "EVENT_POSITION"
    default_status = Status.OUT_OF_RANGE


class EventPositionExpiredError(EventPositionError):
    """Raised when events after a position are no longer kept; `context["first_available"]` is the
    first that is.
    """

    reason = "EVENT_POSITION_EXPIRED"


class TransitionError(OnexError):
    """Raised when the state machine has no such transition from the present state."""

    reason = "ILLEGAL_TRANSITION"
    default_status = Status.FAILED_PRECONDITION


class GuardRejectedError(TransitionError):
    """Raised when a transition exists but its guard says no."""

    reason = "GUARD_REJECTED"


class DependencyResolutionError(OnexError):
    """Raised when something that a node or workflow depends on cannot be used."""

    reason = "DEPENDENCY_RESOLUTION"
    default_status = Status.FAILED_PRECONDITION


class DependencyUnavailableError(DependencyResolutionError):
    """Raised when a required dependency is absent or not healthy."""

    reason = "DEPENDENCY_UNAVAILABLE"


class VersionIncompatibleError(DependencyResolutionError):
    """Raised when a dependency's version is outside what is required."""

    reason = "VERSION_INCOMPATIBLE"


class WorkflowExecutionError(OnexError):
    """Raised when a workflow failed; its status is that of the first cause."""

    reason = "WORKFLOW_EXECUTION"

    @property
    def status(self) -> Status:
        """The status of the first cause; INTERNAL without one."""
        first: OnexError = self
        for _ in range(MOST_ERRORS):
            if (kept := kept_status(first)) is not None:
                return kept
            if not isinstance(first, WorkflowExecutionError):
                return first.status
            if not first.causes:
                break
            first = first.causes[0]
        return self.default_status


class PipelineError(WorkflowExecutionError):
    """Raised when several nodes of a pipeline failed."""

    reason = "PIPELINE"


class UnavailableError(OnexError):
    """Raised when what is needed does not answer now; a later repeat may succeed."""

    reason = "UNAVAILABLE"
    default_status = Status.UNAVAILABLE


class DatabaseConnectionError(UnavailableError):
    """Raised when a database does not answer or is locked."""

    reason = "DATABASE_CONNECTION"


class CircuitOpenError(UnavailableError):
    """Raised when a target has failed so often that it is left alone for a while."""

    reason = "CIRCUIT_OPEN"


class NodeUnavailableError(UnavailableError):
    """Raised when a node cannot be reached or is draining."""

    reason = "NODE_UNAVAILABLE"


class OutcomeUnknownError(OnexError):
    """Raised when an effect was interrupted after it had begun, so that nobody knows whether it
    happened.
    """

    reason = "OUTCOME_UNKNOWN"
    default_status = Status.UNKNOWN


class FlowViolationError(OnexError):
    """Raised when a node calls or depends on a kind that does not come before its own."""

    reason = "FLOW_VIOLATION"
    default_status = Status.PERMISSION_DENIED


class StoreInUseError(OnexError):
    """Raised when another process has the store open."""

    reason = "STORE_IN_USE"
    default_status = Status.FAILED_PRECONDITION


class StoreError(OnexError):
    """Raised when the store fails in a way that the caller cannot mend."""

    reason = "STORE"


class UnimplementedError(OnexError):
    """Raised when a member of an enum or a method is not built."""

    reason = "UNIMPLEMENTED"
    default_status = Status.UNIMPLEMENTED


class ResourceExhaustedError(OnexError):
    """Raised when a message, a header or a queue is larger than its limit."""

    reason = "RESOURCE_EXHAUSTED"
    default_status = Status.RESOURCE_EXHAUSTED


class DeadlineExceededError(OnexError):
    """Raised when the time for a call ran out."""

    reason = "DEADLINE_EXCEEDED"
    default_status = Status.DEADLINE_EXCEEDED


class CallCancelledError(OnexError):
    """Raised when the caller gave a call up."""

    reason = "CANCELLED"
    default_status = Status.CANCELLED


class ConfigurationError(OnexError):
    """Raised at start for a setting that is unknown, missing or cannot be used; names it and the
    remedy.
    """

    reason = "CONFIGURATION"
    default_status = Status.FAILED_PRECONDITION


def _tree(root: type[OnexError]) -> Iterator[type[OnexError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


def error_classes(reason: str) -> Iterator[type[OnexError]]:
    """Yield the classes that name this reason, so that a client raises what the server raised.

    Looks the tree up anew, since users add classes of their own under OnexError.
    """
    return (cls for cls in _tree(OnexError) if carried_reason(vars(cls).get("reason")) == reason)
