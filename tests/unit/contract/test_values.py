"""Open values, scalars, expressions, ids, content hashes, descriptors."""

from __future__ import annotations

import math
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from google.protobuf import struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from onex.v1 import action_pb2, common_pb2, compute_pb2, node_pb2, reducer_pb2
from onex_grpc.contract import data, expression
from onex_grpc.contract.action import content_hash, reduction_hash
from onex_grpc.contract.ids import derived_uuid7
from onex_grpc.contract.node import check_descriptor, may_call, node_name, parse_target
from onex_grpc.contract.scalar import ScalarValue, row, to_scalar
from onex_grpc.errors import ConfigurationError, ContractValidationError, FlowViolationError
from orders.v1 import orders_pb2

if TYPE_CHECKING:
    from onex_grpc.contract.data import JSON

json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(json_values)
def test_json_comes_back_as_it_was(value: JSON) -> None:
    packed = data.pack(value)
    assert data.unpack(packed) == value
    assert data.unpack(common_pb2.Data.FromString(packed.SerializeToString())) == value


def test_messages_come_back_as_they_were() -> None:
    order = orders_pb2.Order(status=orders_pb2.ORDER_STATUS_IDLE)
    assert data.unpack(data.pack(order)) == order
    assert data.unpack_as(data.pack(order), orders_pb2.Order) == order
    assert data.pack(data.pack(order)) == data.pack(order)
    assert data.unpack(common_pb2.Data()) is None


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, 2**53 + 1, -(2**53) - 1, b"x", {1: 2}, {"a": object()}, {1, 2}]
)
def test_what_json_cannot_say_is_refused(value: object) -> None:
    with pytest.raises(ContractValidationError):
        data.pack(value)  # type: ignore[arg-type]


def test_endless_nesting_is_refused() -> None:
    value: JSON = []
    for _ in range(200):
        value = [value]
    with pytest.raises(ContractValidationError, match="nested"):
        data.pack(value)


def stored(scalar: common_pb2.Scalar) -> object:
    kind = scalar.WhichOneof("kind")
    return None if kind is None else getattr(scalar, kind)


@given(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
def test_scalars_are_exact(value: bool | int | float | str | bytes | None) -> None:
    back = stored(to_scalar(value))
    assert (type(back), back) == (type(value), value)


def test_a_row_has_its_columns_and_their_types() -> None:
    columns: dict[str, ScalarValue] = {"id": "a", "pieces": 2, "paid": True, "note": None}
    built = row(**columns).columns
    assert {name: stored(built[name]) for name in built} == columns


def test_large_integers_are_no_scalars() -> None:
    with pytest.raises(ContractValidationError, match="64 bits"):
        to_scalar(2**63)


def test_expression_reads_messages_and_json() -> None:
    variables = {
        "steps.a.output": expression.ANYTHING,
        "order": expression.of_message(orders_pb2.Order),
    }
    compiled = expression.compile("steps.a.output.n + 1.0", variables)
    assert compiled.evaluate({"steps.a.output": {"n": 2.0}}) == 3.0
    order = orders_pb2.Order(details=orders_pb2.PricedOrder(amount_cents=2**60 + 1))
    exact = expression.compile("order.details.amount_cents", variables)
    assert exact.evaluate({"order": order}) == 2**60 + 1
    whole = expression.compile("order.details", variables)
    assert whole.evaluate({"order": order}) == order.details
    assert whole.may_be_condition is False


@pytest.mark.parametrize("text", ["1 +", "unknown", "order.nope", "'a' + 1", "f(1)"])
def test_wrong_expression_is_refused_when_compiled(text: str) -> None:
    with pytest.raises(ContractValidationError) as caught:
        expression.compile(text, {"order": expression.of_message(orders_pb2.Order)})
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("text", ["x.missing", "1 / 0 == 1"])
def test_expression_without_a_value(text: str) -> None:
    with pytest.raises(ContractValidationError):
        expression.compile(text, {"x": expression.ANYTHING}).evaluate({"x": {}})


def test_conditions_are_true_or_false() -> None:
    compiled = expression.compile("x", {"x": expression.ANYTHING})
    assert compiled.holds({"x": True})
    with pytest.raises(ContractValidationError, match="not true or false"):
        compiled.holds({"x": 1})


@given(st.integers(0, 2**48 - 1), st.text(), st.integers(0, 10))
def test_derived_ids_are_uuids_of_their_time(milliseconds: int, action_id: str, index: int) -> None:
    made = derived_uuid7(milliseconds, action_id, str(index))
    parsed = uuid.UUID(made)
    assert made == str(parsed) == derived_uuid7(milliseconds, action_id, str(index))
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == milliseconds
    assert made != derived_uuid7(milliseconds, action_id, str(index + 1))


ISSUED = datetime(2026, 1, 1, tzinfo=UTC)


def action() -> action_pb2.ModelAction:
    made = action_pb2.ModelAction(
        action_id="a",
        action_type=action_pb2.ACTION_TYPE_DELEGATE_TASK,
        target_node="reducer/orders",
        correlation_id="c",
    )
    made.issued_at.FromDatetime(ISSUED)
    made.command_payload.reducer.input_data.action = "GO"
    return made


def test_repeat_of_a_new_holder_is_the_same_content() -> None:
    repeat = action()
    repeat.lease_id, repeat.epoch = "other", 9
    repeat.status = action_pb2.ACTION_STATUS_PENDING
    repeat.metadata.entries["k"] = "v"
    for time in (repeat.issued_at, repeat.expires_at, repeat.command_payload.reducer.issued_at):
        time.FromDatetime(ISSUED + timedelta(minutes=1))
    assert content_hash(repeat) == content_hash(action())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("action_type", action_pb2.ACTION_TYPE_UPDATE_STATE),
        ("target_node", "reducer"),
        ("correlation_id", "d"),
        ("parent_action_id", "p"),
    ],
)
def test_other_content_has_another_hash(field: str, value: object) -> None:
    other = action()
    setattr(other, field, value)
    assert content_hash(other) != content_hash(action())


def test_other_command_has_another_hash() -> None:
    other = action()
    other.command_payload.reducer.input_data.action = "STOP"
    assert content_hash(other) != content_hash(action())
    none = action()
    none.ClearField("command_payload")
    assert content_hash(none) != content_hash(action())


def test_content_of_a_reduction() -> None:
    contract = reducer_pb2.ModelContractReducer(action_id="a", correlation_id="c")
    same = reducer_pb2.ModelContractReducer(action_id="b", correlation_id="d")
    same.issued_at.FromDatetime(ISSUED)
    other = reducer_pb2.ModelContractReducer(action_id="a", correlation_id="c")
    other.input_data.action = "OTHER"
    assert reduction_hash(contract) == reduction_hash(same) != reduction_hash(other)


def in_two_orders() -> tuple[struct_pb2.Struct, struct_pb2.Struct]:
    one, two = struct_pb2.Struct(), struct_pb2.Struct()
    names = [str(n) for n in range(20)]
    one.update(dict.fromkeys(names, 1))
    two.update(dict.fromkeys(names[::-1], 1))
    return one, two


def test_equal_messages_have_equal_bytes() -> None:
    one, two = in_two_orders()
    assert one == two
    assert data.pack(one) == data.pack(two)


def test_it_does_not_matter_who_packed_a_payload() -> None:
    contracts = []
    for message in in_two_orders():
        contract = reducer_pb2.ModelContractReducer()
        contract.input_data.payload.message.Pack(message, "other.example/")
        contracts.append(contract)
    assert reduction_hash(contracts[0]) == reduction_hash(contracts[1])
    for contract in contracts:
        contract.input_data.payload.message.value += b"cut"
    assert reduction_hash(contracts[0]) != reduction_hash(contracts[1])


def test_map_order_does_not_change_a_hash() -> None:
    one, two = action(), action()
    names = [str(n) for n in range(20)]
    for made, order in ((one, names), (two, names[::-1])):
        compute = compute_pb2.ModelContractCompute()
        for name in order:
            compute.input_validation.data_types[name] = compute_pb2.DATA_TYPE_LIST
        made.command_payload.compute.CopyFrom(compute)
    assert content_hash(one) == content_hash(two)


def descriptor(kind: str = "REDUCER", /, **fields: object) -> node_pb2.NodeDescriptor:
    made = node_pb2.NodeDescriptor(
        name="orders", version="1.0.0", node_type=common_pb2.NodeType.Value(f"NODE_TYPE_{kind}")
    )
    for name, value in fields.items():
        if isinstance(value, list):
            getattr(made, name).extend(value)
        else:
            setattr(made, name, value)
    return made


def test_descriptor_of_a_node() -> None:
    check_descriptor(descriptor(depends_on=["effect", "compute/prices"]))
    assert node_name(descriptor()) == "reducer/orders"


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"name": "Orders"}, "'Orders' does not match"),
        ({"name": "o" * 49}, "does not match"),
        ({"node_type": 0}, "node_type"),
        ({"node_type": 9}, "node_type"),
        ({"version": "1.0"}, "semantic version"),
        ({"version": "01.0.0"}, "semantic version"),
        ({"depends_on": ["database"]}, "'database'"),
        ({"depends_on": ["effect/"]}, "'effect/'"),
    ],
)
def test_malformed_descriptor(fields: dict[str, object], fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        check_descriptor(descriptor(**fields))


@pytest.mark.parametrize(
    ("kind", "depends_on"),
    [
        ("EFFECT", "effect"),
        ("EFFECT", "compute/x"),
        ("COMPUTE", "reducer"),
        ("REDUCER", "reducer/other"),
        ("REDUCER", "orchestrator"),
    ],
)
def test_dependency_against_the_flow(kind: str, depends_on: str) -> None:
    with pytest.raises(FlowViolationError, match=depends_on):
        check_descriptor(descriptor(kind, depends_on=[depends_on]))


def test_flow_of_calls() -> None:
    kinds = ("effect", "compute", "reducer", "orchestrator")
    allowed = [(a, b) for a in kinds for b in kinds if may_call(a, b)]
    assert allowed == [
        ("compute", "effect"),
        ("reducer", "effect"),
        ("reducer", "compute"),
        *(("orchestrator", kind) for kind in kinds),
    ]


def test_targets() -> None:
    assert parse_target("compute") == ("compute", "")
    assert parse_target("effect/files-2") == ("effect", "files-2")
    for text in ("", "Effect", "effect/", "effect/A", "x/y", "effect/a/b"):
        with pytest.raises(ContractValidationError, match="target_node"):
            parse_target(text)
