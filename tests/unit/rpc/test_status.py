"""Errors go over the wire and come back as what they were, within the limits of metadata."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st

from onex.v1 import error_pb2
from onex_grpc import errors
from onex_grpc.errors import (
    ContractValidationError,
    NodeUnavailableError,
    OnexError,
    Status,
    StoreError,
    UnavailableError,
    Violation,
    WorkflowExecutionError,
)
from onex_grpc.rpc.status import (
    DETAILS_KEY,
    MAX_BYTES,
    ForeignError,
    error_detail,
    from_detail,
    from_status,
    to_status,
)


def _all_classes(root: type[OnexError]) -> set[type[OnexError]]:
    return {root}.union(*(_all_classes(child) for child in root.__subclasses__()))


CLASSES = sorted(
    {cls for cls in _all_classes(OnexError) if cls.__module__ == errors.__name__},
    key=lambda cls: cls.__name__,
)


def there_and_back(error: OnexError) -> OnexError:
    """The error after its way over the wire."""
    wire = to_status(error)
    ((key, details),) = wire.trailing_metadata
    assert key == DETAILS_KEY
    return from_status(wire.code, wire.message, details)


@pytest.mark.parametrize("cls", CLASSES)
def test_class_survives(cls: type[OnexError]) -> None:
    error = there_and_back(cls("what", node="compute/a", correlation_id="c", context={"k": "v"}))
    assert type(error) is cls
    assert error.status == cls("what").status
    assert (error.message, error.node, error.correlation_id) == ("what", "compute/a", "c")
    assert error.context == {"k": "v"}


@given(
    st.text(max_size=3000),
    st.lists(st.builds(Violation, st.text(max_size=300), st.text(max_size=300)), max_size=60),
    st.dictionaries(st.text(max_size=50), st.text(max_size=500), max_size=20),
    st.integers(0, 30),
)
def test_details_stay_within_their_limit(
    message: str, violations: list[Violation], context: dict[str, str], depth: int
) -> None:
    error: OnexError = StoreError(message, context=context)
    for _ in range(depth):
        error = WorkflowExecutionError(message, causes=[error] * 2)
        if len(error.causes) ** depth > 64:
            error = WorkflowExecutionError(message, causes=error.causes[:1])
    outer = ContractValidationError(message, violations=violations, causes=[error])
    wire = to_status(outer)
    assert len(wire.trailing_metadata[0][1]) <= MAX_BYTES * 1.5
    assert len(wire.message.encode()) <= 1024
    back = there_and_back(outer)
    assert type(back) is ContractValidationError
    assert bool(back.violations) == bool(violations)


def test_python_cause_is_a_cause() -> None:
    error = NodeUnavailableError("outer")
    error.__cause__ = StoreError("inner")
    (cause,) = there_and_back(error).causes
    assert isinstance(cause, StoreError)


def test_status_of_a_failed_workflow_is_that_of_its_cause() -> None:
    error = WorkflowExecutionError("w", causes=[NodeUnavailableError("n")])
    assert to_status(error).code is grpc.StatusCode.UNAVAILABLE
    assert type(there_and_back(error)) is WorkflowExecutionError


def test_a_failed_workflow_keeps_its_status_however_many_causes_it_has() -> None:
    failures = [
        WorkflowExecutionError(
            f"step s{number} failed: {'x' * 300}",
            node="orchestrator/orders",
            correlation_id="0b9b7d1e-6f0e-4b8e-8f0a-4f1d2c3b4a59",
            causes=[NodeUnavailableError("y" * 300, node="effect/orders")] * 2,
        )
        for number in range(40)
    ]
    error = there_and_back(WorkflowExecutionError("w", causes=failures))
    assert error.status is Status.UNAVAILABLE
    assert len(error.causes) > 1
    again = there_and_back(error)
    assert again.status is Status.UNAVAILABLE
    assert isinstance(again.causes[0].causes[0], NodeUnavailableError)


def test_a_failed_workflow_keeps_its_status_without_its_causes() -> None:
    detail = error_pb2.ErrorDetail(
        reason="WORKFLOW_EXECUTION", message="m", status_code=Status.NOT_FOUND
    )
    assert from_detail(detail).status is Status.NOT_FOUND


def test_class_of_a_user_survives_whatever_it_takes() -> None:
    class StockError(UnavailableError):
        reason = "OUT_OF_STOCK"

        def __init__(self, item: str, left: int) -> None:
            super().__init__(f"only {left} of {item}")

    error = there_and_back(StockError("pens", 3))
    assert type(error) is StockError
    assert error.message == "only 3 of pens"


def test_unknown_reason_keeps_reason_and_status() -> None:
    detail = error_pb2.ErrorDetail(reason="NEVER_HEARD", message="m", status_code=Status.ABORTED)
    error = from_detail(detail)
    assert isinstance(error, ForeignError)
    assert (error.status, error.foreign_reason) == (Status.ABORTED, "NEVER_HEARD")
    assert error_detail(error) == detail


@pytest.mark.parametrize("code", [c for c in grpc.StatusCode if c is not grpc.StatusCode.OK])
def test_status_of_servers_that_are_not_ours(code: grpc.StatusCode) -> None:
    error = from_status(code, "text", None)
    assert error.status == code.value[0]
    assert error.message == "text"


@given(st.binary(max_size=200))
def test_details_of_others_do_no_harm(details: bytes) -> None:
    assert from_status(grpc.StatusCode.ABORTED, "text", details).message
    proto = status_pb2.Status(
        code=10,
        details=[any_pb2.Any(type_url="type.googleapis.com/onex.v1.ErrorDetail", value=details)],
    )
    error = from_status(grpc.StatusCode.ABORTED, "text", proto.SerializeToString())
    assert error.status == Status.ABORTED
