"""Compute: registry, built-in algorithms, checks of the input, metrics, cancellation."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.v1 import common_pb2, compute_pb2, node_pb2
from onex_grpc.compute import AlgorithmRegistry, ComputeInput
from onex_grpc.compute.builtin import builtin_algorithms
from onex_grpc.container import ModelONEXContainer
from onex_grpc.contract.data import pack, unpack
from onex_grpc.errors import (
    AlgorithmNotFoundError,
    ConfigurationError,
    ContractValidationError,
    OnexError,
)
from onex_grpc.node.compute import NodeCompute
from orders.v1 import orders_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from onex_grpc.contract.data import JSON

CORRELATION = "0198c0de-0000-7000-8000-000000000001"


class Prices(NodeCompute):
    descriptor = node_pb2.NodeDescriptor(name="prices", version="1.2.3")

    def __init__(self) -> None:
        self.cancelled = asyncio.Event()
        self.began = asyncio.Event()
        super().__init__(ModelONEXContainer())

    def register_algorithms(self, registry: AlgorithmRegistry) -> None:
        registry.register("slow", self.slow)
        registry.register("total_cents", total_cents)
        registry.register("nonsense", lambda _: {"x": float("nan")})
        registry.register_in_thread("where", lambda _: threading.current_thread().name)

    async def slow(self, data: ComputeInput) -> JSON:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return None


def total_cents(data: ComputeInput) -> orders_pb2.PricedOrder:
    line = data.message(orders_pb2.OrderLine)
    return orders_pb2.PricedOrder(line=line, amount_cents=round(float(line.amount_usd) * 100))


def contract(
    algorithm: str, value: Message | JSON = None, parameters: dict[str, JSON] | None = None
) -> compute_pb2.ModelContractCompute:
    made = compute_pb2.ModelContractCompute(correlation_id=CORRELATION)
    made.algorithm_config.algorithm_type = algorithm
    if parameters:
        made.algorithm_config.parameters.CopyFrom(pack(parameters).value.struct_value)
    if value is not None:
        made.input_data.CopyFrom(pack(value))
    return made


async def run(
    algorithm: str, value: Message | JSON = None, parameters: dict[str, JSON] | None = None
) -> object:
    output = await Prices().execute_compute(contract(algorithm, value, parameters))
    return unpack(output.processed_data)


@pytest.mark.parametrize(
    ("algorithm", "value", "result"),
    [
        ("sum", [1, 2, 3, 4, 5], 15.0),
        ("sum", [0.1] * 10, 1.0),
        ("sum", [], 0.0),
        ("average", [1, 2], 1.5),
        ("min", [3, -1.5, 2], -1.5),
        ("max", [3, -1.5, 2], 3.0),
        ("count", [None, "a", {}], 3.0),
        ("count", [], 0.0),
        ("sort", [3, 1, 2], [1.0, 2.0, 3.0]),
    ],
)
async def test_builtin(algorithm: str, value: list[JSON], result: object) -> None:
    assert await run(algorithm, value) == result


async def test_sort_descending() -> None:
    assert await run("sort", [3, 1, 2], {"descending": True}) == [3.0, 2.0, 1.0]


async def test_sort_by_key() -> None:
    rows: list[JSON] = [{"n": "b", "i": 1}, {"n": "a", "i": 2}, {"n": "b", "i": 3}]
    ordered = await run("sort", rows, {"key": "n", "descending": True})
    assert isinstance(ordered, list)
    assert [row["i"] for row in ordered] == [1.0, 3.0, 2.0]


@pytest.mark.parametrize(
    ("algorithm", "value", "parameters", "field"),
    [
        ("sum", [1, "2"], {}, "input_data[1]"),
        ("sum", [True], {}, "input_data[0]"),
        ("sum", {"a": 1}, {}, "input_data"),
        ("sum", None, {}, "input_data"),
        ("sum", [1], {"descending": True}, "algorithm_config.parameters.descending"),
        ("sum", [1e308, 1e308], {}, "input_data"),
        ("average", [], {}, "input_data"),
        ("min", [], {}, "input_data"),
        ("max", [], {}, "input_data"),
        ("count", 3, {}, "input_data"),
        ("count", [1], {"key": "x"}, "algorithm_config.parameters.key"),
        ("sort", [1], {"descending": 1}, "algorithm_config.parameters.descending"),
        ("sort", [1], {"key": 1}, "algorithm_config.parameters.key"),
        ("sort", [1], {"order": "up"}, "algorithm_config.parameters.order"),
        ("sort", [{"a": 1}, {}], {"key": "a"}, "input_data[1]"),
        ("sort", [{"a": 1}, {"a": "x"}], {"key": "a"}, "input_data"),
        ("sum", orders_pb2.Order(), {}, "input_data"),
    ],
)
async def test_builtin_refuses(
    algorithm: str, value: Message | JSON, parameters: dict[str, JSON], field: str
) -> None:
    with pytest.raises(ContractValidationError) as caught:
        await run(algorithm, value, parameters)
    assert [v.field for v in caught.value.violations] == [field]


@given(st.lists(st.floats(-1e9, 1e9), min_size=1))
def test_builtins_agree_with_python(numbers: list[float]) -> None:
    found = {name: asyncio.run(run(name, [*numbers])) for name in ("min", "max", "sort", "count")}
    expected = {
        "min": min(numbers),
        "max": max(numbers),
        "sort": sorted(numbers),
        "count": float(len(numbers)),
    }
    assert found == expected


async def test_unknown_algorithm_names_the_known_ones() -> None:
    with pytest.raises(AlgorithmNotFoundError, match=r"'median'.*average.*total_cents") as caught:
        await run("median", [1])
    assert caught.value.context["algorithm_type"] == "median"


async def test_messages_in_and_out() -> None:
    line = orders_pb2.OrderLine(order_id="CD00001", amount_usd="12.34")
    assert await run("total_cents", line) == orders_pb2.PricedOrder(line=line, amount_cents=1234)


@pytest.mark.parametrize("value", [[1], None, orders_pb2.Order()])
async def test_wrong_message(value: Message | JSON) -> None:
    with pytest.raises(ContractValidationError, match=r"input_data: .*orders\.v1\.OrderLine"):
        await run("total_cents", value)


@pytest.mark.parametrize(
    "packed",
    [
        {"type_url": "type.googleapis.com/no.such.Type"},
        {"type_url": "type.googleapis.com/orders.v1.OrderLine", "value": b"\xff"},
    ],
)
async def test_message_that_cannot_be_read(packed: dict[str, str | bytes]) -> None:
    made = contract("sum")
    made.input_data.message.type_url = str(packed["type_url"])
    made.input_data.message.value = bytes(packed.get("value", b""))  # type: ignore[arg-type]
    with pytest.raises(ContractValidationError, match=r"^input_data: "):
        await Prices().execute_compute(made)


async def test_required_fields_and_types_of_an_object() -> None:
    made = contract("count", {"name": "x", "n": 1.5, "flag": True, "nothing": None})
    validation = made.input_validation
    validation.required_fields.extend(["name", "missing", "nothing"])
    validation.data_types["name"] = compute_pb2.DATA_TYPE_NUMBER
    validation.data_types["n"] = compute_pb2.DATA_TYPE_INTEGER
    validation.data_types["flag"] = compute_pb2.DATA_TYPE_NUMBER
    validation.data_types["absent"] = compute_pb2.DATA_TYPE_LIST
    with pytest.raises(ContractValidationError) as caught:
        await Prices().execute_compute(made)
    assert [(v.field, v.description) for v in caught.value.violations] == [
        ("input_data.missing", "is missing; input_validation requires it"),
        ("input_data.flag", "is a boolean; number is needed"),
        ("input_data.n", "is a fraction; integer is needed"),
        ("input_data.name", "is text; number is needed"),
    ]


@pytest.mark.parametrize(
    ("value", "data_type"),
    [
        ("x", "STRING"),
        (1.5, "NUMBER"),
        (2, "NUMBER"),
        (2, "INTEGER"),
        (False, "BOOLEAN"),
        ([], "LIST"),
        ({}, "OBJECT"),
    ],
)
async def test_each_data_type_accepts_its_own_and_refuses_text(value: JSON, data_type: str) -> None:
    wanted = compute_pb2.DataType.Value(f"DATA_TYPE_{data_type}")
    registry = builtin_algorithms()
    registry.register("same", lambda data: data.data)
    node = Prices()
    node.algorithms = registry
    made = contract("same", {"f": value})
    made.input_validation.data_types["f"] = wanted
    assert unpack((await node.execute_compute(made)).processed_data) == {"f": value}
    other: JSON = 7.5 if data_type == "STRING" else "text"
    made.input_data.CopyFrom(pack({"f": other}))
    with pytest.raises(ContractValidationError, match=r"input_data\.f"):
        await node.execute_compute(made)


async def test_required_fields_and_types_of_a_message() -> None:
    priced = orders_pb2.PricedOrder(amount_cents=0)
    made = contract("total_cents", priced)
    made.input_validation.required_fields.extend(["line", "amount_cents", "unknown"])
    made.input_validation.data_types["amount_cents"] = compute_pb2.DATA_TYPE_OBJECT
    with pytest.raises(ContractValidationError) as caught:
        await Prices().execute_compute(made)
    fields = [v.field for v in caught.value.violations]
    assert fields == ["input_data.line", "input_data.unknown", "input_data.amount_cents"]


async def test_validation_needs_fields() -> None:
    made = contract("sum", [1])
    made.input_validation.required_fields.append("x")
    with pytest.raises(ContractValidationError, match="has no fields"):
        await Prices().execute_compute(made)


async def test_output_names_call_and_figures() -> None:
    output = await Prices().execute_compute(contract("sum", [1, 2]))
    assert output.correlation_id == CORRELATION
    metrics = output.performance_metrics
    assert metrics.algorithm_type == "sum"
    assert metrics.data_size == output.processed_data.ByteSize()
    assert 0 < metrics.execution_time.ToNanoseconds() < 5_000_000_000


async def test_result_that_cannot_be_sent_is_the_nodes_fault() -> None:
    with pytest.raises(OnexError, match="nonsense") as caught:
        await run("nonsense")
    assert caught.value.reason == "INTERNAL"


async def test_cancelled_algorithm_sees_it() -> None:
    node = Prices()
    task = asyncio.create_task(node.execute_compute(contract("slow")))
    await node.began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert node.cancelled.is_set()


async def test_in_thread_runs_beside_the_loop() -> None:
    assert await run("where") != threading.current_thread().name


async def test_registry_refuses_names() -> None:
    registry = builtin_algorithms()
    for name in ("sum", "", "x" * 129):
        with pytest.raises(ConfigurationError):
            registry.register(name, total_cents)
    with pytest.raises(ConfigurationError, match=r"register\(\)"):
        registry.register_in_thread("x", Prices().slow)  # type: ignore[arg-type]


async def test_nodes_share_a_registry_of_the_container_without_writing_into_it() -> None:
    shared = AlgorithmRegistry()
    shared.register("shared", total_cents)
    container = ModelONEXContainer()
    container.register(AlgorithmRegistry, shared)

    class Own(NodeCompute):
        descriptor = node_pb2.NodeDescriptor(name="own", version="1.0.0")

        def register_algorithms(self, registry: AlgorithmRegistry) -> None:
            registry.register("own", total_cents)

    assert Own(container).operations() == ("own", "shared")
    assert Own(container).operations() == ("own", "shared")
    assert shared.names == ("shared",)


async def test_node_describes_itself() -> None:
    node = Prices()
    assert node.name == "compute/prices"
    assert node.descriptor.node_type == common_pb2.NODE_TYPE_COMPUTE
    assert "sum" in node.operations()
    assert len(node.services()) == 1
