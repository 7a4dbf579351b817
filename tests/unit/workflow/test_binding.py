"""Bindings: values of earlier steps in the fields of commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from onex.v1 import common_pb2, compute_pb2, effect_pb2, operation_pb2, reducer_pb2
from onex_grpc.contract import data
from onex_grpc.errors import ContractValidationError
from onex_grpc.workflow.binding import compile_binding

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

Compute = compute_pb2.ModelContractCompute
Effect = effect_pb2.ModelContractEffect
Reducer = reducer_pb2.ModelContractReducer

VALUES = {
    "input": data.pack({"file": "orders.csv", "line": 7, "rate": 0.5, "tags": ["a", "b"]}),
    "steps.text.output": data.pack("hello"),
    "steps.file.output": data.pack(operation_pb2.FileOperation(path="p.txt")),
    "steps.nothing.output": common_pb2.Data(),
}
VISIBLE = frozenset({"text", "file", "nothing"})
_COLUMN = "io_operation_config.operation.database.statements[0].insert.row.columns"


def _descriptor(command: Message) -> Descriptor:
    return cast("Descriptor", command.DESCRIPTOR)


def bound(command: Message, field: str, expression: str) -> str:
    binding = compile_binding(_descriptor(command), field, expression, VISIBLE.__contains__)
    binding.fill(command, VALUES)
    return " ".join(str(command).split())


@pytest.mark.parametrize(
    ("command", "field", "expression", "expected"),
    [
        (
            Effect(),
            "io_operation_config.operation.file.read.line",
            "input.line",
            "io_operation_config { operation { file { read { line: 7 } } } }",
        ),
        (Compute(), "correlation_id", "input.file + '!'", 'correlation_id: "orders.csv!"'),
        (Compute(), "input_data", "steps.file.output.path", 'value { string_value: "p.txt" }'),
        (Compute(), "input_data", "input.line + 1.0", "value { number_value: 8 }"),
        (Compute(), "input_data.value.deep.er", "input.rate", 'key: "er" value { number_value'),
        (Compute(), "algorithm_config.parameters.rate", "input.rate", 'fields { key: "rate"'),
        (
            Compute(),
            "input_validation.required_fields",
            "input.tags",
            'required_fields: "a" required_fields: "b"',
        ),
        (Compute(), "input_validation.data_types.q", "2", "value: DATA_TYPE_NUMBER"),
        (
            Compute(),
            "input_validation.data_types",
            "{'q': 'DATA_TYPE_LIST'}",
            "value: DATA_TYPE_LIST",
        ),
        (Reducer(), "issued_at", "timestamp('2020-01-01T00:00:00Z')", "seconds: 1577836800"),
        (Effect(), "external_service_config.timeout", "duration('5s')", "seconds: 5"),
        (Effect(), "io_operation_config.operation.file.write.content", "b'abc'", 'content: "abc"'),
    ],
)
def test_a_value_is_written_into_its_field(
    command: Message, field: str, expression: str, expected: str
) -> None:
    copy = type(command)()
    assert expected in bound(copy, field, expression)


def test_a_column_gets_a_typed_value() -> None:
    for expression, expected in (
        ("input.file", "string_value"),
        ("7", "int64_value: 7"),
        ("input.line", "double_value: 7"),
        ("true", "bool_value: true"),
        ("null", 'columns { key: "c" value { } }'),
    ):
        command = Effect()
        command.io_operation_config.operation.database.statements.add()
        assert expected in bound(command, f"{_COLUMN}.c", expression)


def test_a_whole_output_is_handed_on_as_it_is() -> None:
    for name in ("text", "file"):
        command = Compute()
        bound(command, "input_data", f" steps.{name}.output ")
        assert command.input_data == VALUES[f"steps.{name}.output"]


def test_a_message_of_an_unknown_type_is_handed_on() -> None:
    unknown = common_pb2.Data()
    unknown.message.type_url = "type.googleapis.com/nobody.knows.It"
    unknown.message.value = b"\x01"
    command = Compute()
    binding = compile_binding(Compute.DESCRIPTOR, "input_data", "input", VISIBLE.__contains__)
    binding.fill(command, {"input": unknown})
    assert command.input_data == unknown


@pytest.mark.parametrize(
    ("field", "expression"),
    [
        ("correlation_id", "input.line"),
        ("input_validation.required_fields", "input.file"),
        ("input_validation.data_types.q", "1.5"),
        ("input_data", "input.nobody"),
        ("input_data", "steps.nothing.output.x"),
        ("algorithm_config", "steps.file.output"),
        ("algorithm_config", "1"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(field: str, expression: str) -> None:
    with pytest.raises(ContractValidationError):
        bound(Compute(), field, expression)


@pytest.mark.parametrize(
    "field",
    [
        "nobody",
        "correlation_id.x",
        "input_validation.required_fields.x",
        "input_data.message.nobody",
        "algorithm_config.nobody.x",
    ],
)
def test_a_field_that_does_not_exist_is_refused_when_compiled(field: str) -> None:
    with pytest.raises(ContractValidationError) as error:
        compile_binding(Compute.DESCRIPTOR, field, "1", VISIBLE.__contains__)
    assert error.value.violations[0].field == "field"


def test_whole_numbers_stay_in_their_range() -> None:
    path = "io_operation_config.operation.file.read.line"
    with pytest.raises(ContractValidationError, match="range"):
        bound(Effect(), path, "-1")
    assert str(2**53) in bound(Effect(), path, str(2**53))
