"""What an adversary sends to the running sample mesh.

Each is a clear error with a reason, nothing ends in a traceback, and the servers stay up.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest
from google.protobuf import descriptor_pool

from onex.v1 import (
    common_pb2,
    compute_pb2,
    effect_pb2,
    event_pb2,
    intent_pb2,
    lease_pb2,
    operation_pb2,
    orchestrator_pb2,
    reducer_pb2,
)
from onex_grpc.contract import data
from orders.v1 import desk_pb2, fulfilment_pb2, order_service_pb2, orders_pb2, pricing_pb2
from tests.mesh.bad_input.served import Refused, Served

if TYPE_CHECKING:
    from google.protobuf.descriptor import MethodDescriptor
    from google.protobuf.message import Message

FILES = ("effect", "compute", "reducer", "intent", "orchestrator", "lease", "event", "node")
METHODS = [
    method
    for file in FILES
    for service in descriptor_pool.Default()
    .FindFileByName(f"onex/v1/{file}.proto")
    .services_by_name.values()
    for method in service.methods
]
# Where nothing is needed, an empty request is a good one.
NOTHING_NEEDED = {
    "ExecuteIntents",
    "ListKeys",
    "GetQueueStats",
    "DescribeNode",
    "GetNodeHealth",
}
COMPUTE = "ComputeNodeService/ExecuteCompute"
PRICE = "orders.v1.PricingService/PriceOrder"


def compute(algorithm: str, value: data.JSON | Message = None) -> compute_pb2.ModelContractCompute:
    return compute_pb2.ModelContractCompute(
        algorithm_config=compute_pb2.AlgorithmConfig(algorithm_type=algorithm),
        input_data=data.pack(value),
    )


def parse(text: str) -> compute_pb2.ModelContractCompute:
    return compute("orders.v1.PricingService/ParseLine", pricing_pb2.ParseLineRequest(text=text))


def reduction(action: str, payload: Message | None = None, key: str = "k") -> Message:
    return reducer_pb2.ModelContractReducer(
        reduction_config=reducer_pb2.ReductionConfig(state_key=key),
        input_data=reducer_pb2.ReducerInput(
            action=action, payload=None if payload is None else data.pack(payload)
        ),
    )


def effect(target: str, **operation: Message) -> effect_pb2.ModelContractEffect:
    made = operation_pb2.EffectOperation(**operation)  # type: ignore[arg-type]
    return effect_pb2.ModelContractEffect(
        external_service_config=effect_pb2.ExternalServiceConfig(service_name=target),
        io_operation_config=effect_pb2.IoOperationConfig(operation=made),
    )


def read(path: str) -> Message:
    file = operation_pb2.FileOperation(path=path, read=operation_pb2.FileRead())
    return effect("order_files", file=file)


def insert(table: str, column: str) -> Message:
    row = operation_pb2.Row(columns={column: common_pb2.Scalar(string_value="x")})
    statement = operation_pb2.DatabaseStatement(
        insert=operation_pb2.DatabaseInsert(table=table, row=row)
    )
    return effect("orders_db", database=operation_pb2.DatabaseOperation(statements=[statement]))


def mail(to: str, order_id: str = "1") -> Message:
    values = {"order_id": order_id, "quantity": "1", "amount": "1"}
    scalars = {name: common_pb2.Scalar(string_value=text) for name, text in values.items()}
    notification = operation_pb2.Notification(template="order_confirmation", to=to, data=scalars)
    return effect("order_mail", notification=notification)


def event(topic: str) -> Message:
    made = event_pb2.Event(event_id=str(uuid.uuid4()), topic=topic, event_type="T")
    return event_pb2.PublishRequest(event=made)


def workflow(
    *steps: str, workflow_id: str = "", target: str = "compute", expression: str = "[1, 2]"
) -> orchestrator_pb2.ModelContractOrchestrator:
    return orchestrator_pb2.ModelContractOrchestrator(
        workflow_id=workflow_id or f"bad-{uuid.uuid4()}",
        workflow_config=orchestrator_pb2.WorkflowConfig(
            coordination_type=orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL,
            steps=[
                orchestrator_pb2.WorkflowStep(
                    step_id=step,
                    target_node=target,
                    compute=compute("sort"),
                    bindings=[orchestrator_pb2.Binding(field="input_data", expression=expression)],
                )
                for step in steps
            ],
        ),
    )


def _numbered(*cases: tuple[object, str]) -> list[object]:
    return [pytest.param(*case, id=f"{n}-{case[1]}") for n, case in enumerate(cases)]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.full_name)
def test_every_method_bears_nothing_garbage_and_too_much(
    mesh: Served, method: MethodDescriptor
) -> None:
    if method.name in NOTHING_NEEDED:
        mesh.send(method, b"")
    else:
        with pytest.raises(Refused) as empty:
            mesh.send(method, b"")
        assert empty.value.reason == "INVALID_CONTRACT"
        assert empty.value.fields
    with pytest.raises(Refused, match="is not the message it should be"):
        mesh.send(method, b"\xff\xff\xff\x07garbage")
    with pytest.raises(Refused, match=r"larger than max \(.* vs\. 4194304\)") as large:
        mesh.send(method, bytes(5 << 20))
    assert large.value.code == "RESOURCE_EXHAUSTED"


LEASE = {
    "onex-workflow-id": "w",
    "onex-lease-id": str(uuid.UUID(int=1)),
    "onex-fence": "1",
    "onex-lease-token": "a.b.c",
}


@pytest.mark.parametrize(
    ("headers", "reason"),
    _numbered(
        ({"onex-correlation-id": "xyz"}, "INVALID_CONTRACT"),
        ({"onex-caller": "a" * 2000}, "INVALID_CONTRACT"),
        ({"onex-caller": "martian/x"}, "FLOW_VIOLATION"),
        ({"onex-caller": "effect/x"}, "FLOW_VIOLATION"),
        ({"onex-workflow-id": "../../x"}, "INVALID_CONTRACT"),
        ({"onex-epoch": "1"}, "INVALID_CONTRACT"),
        ({**LEASE, "onex-lease-token": ""}, "INVALID_CONTRACT"),
        ({**LEASE, "onex-fence": "-1"}, "INVALID_CONTRACT"),
        ({**LEASE, "onex-fence": "9" * 19}, "INVALID_CONTRACT"),
        (LEASE, "LEASE_VALIDATION"),
    ),
)
def test_bad_headers(mesh: Served, headers: dict[str, str], reason: str) -> None:
    with pytest.raises(Refused) as refused:
        mesh.call(COMPUTE, compute("sum", [1]), tuple(headers.items()))
    assert refused.value.reason == reason


def test_headers_beyond_what_grpc_takes(mesh: Served) -> None:
    with pytest.raises(Refused) as refused:
        mesh.call(COMPUTE, compute("sum", [1]), [("onex-correlation-id", "a" * 100_000)])
    assert refused.value.code == "RESOURCE_EXHAUSTED"


def test_ids_that_differ_are_refused_by_field(mesh: Served) -> None:
    request = compute("sum", [1])
    request.correlation_id = str(uuid.uuid4())
    with pytest.raises(Refused) as refused:
        mesh.call(COMPUTE, request, [("onex-correlation-id", str(uuid.uuid4()))])
    assert refused.value.fields == ["correlation_id"]


@pytest.mark.parametrize(
    ("request_", "reason"),
    _numbered(
        (compute("nope", [1]), "ALGORITHM_NOT_FOUND"),
        (compute("a\0b", [1]), "INVALID_CONTRACT"),
        (compute("x" * 1_000_000), "INVALID_CONTRACT"),
        (compute("sum"), "INVALID_CONTRACT"),
        (compute("sum", "text"), "INVALID_CONTRACT"),
        (compute("sum", [1, "a"]), "INVALID_CONTRACT"),
        (compute("sum", [1e308] * 9), "INVALID_CONTRACT"),
        (parse("a\0,b"), "INVALID_CONTRACT"),
        (parse('a\rb,"'), "INVALID_CONTRACT"),
        (parse("x" * 200_000), "INVALID_CONTRACT"),
        (parse(f"1,2,2020-01-01,{'9' * 5000},1.00"), "INVALID_CONTRACT"),
        (compute(PRICE, 5), "INVALID_CONTRACT"),
        (compute(PRICE, orders_pb2.Order()), "INVALID_CONTRACT"),
    ),
)
def test_bad_computations(mesh: Served, request_: Message, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        mesh.call(COMPUTE, request_)
    assert refused.value.reason == reason


@pytest.mark.parametrize("amount", ["abc", "Infinity", "nan", "1e9999999", "1e30", ""])
def test_a_price_of_no_amount_is_refused(mesh: Served, amount: str) -> None:
    line = orders_pb2.OrderLine(
        order_id="a", customer_id="1", order_date="2020-01-01", quantity=1, amount_usd=amount
    )
    with pytest.raises(Refused, match="amount_usd"):
        mesh.call(COMPUTE, compute(PRICE, pricing_pb2.PriceOrderRequest(line=line)))


def fulfil(file: str, line: int, key: str = "") -> orchestrator_pb2.ModelContractOrchestrator:
    workflow_id = f"bad-{uuid.uuid4()}"
    request = fulfilment_pb2.FulfilOrderRequest(workflow_id=workflow_id, file=file, line=line)
    return orchestrator_pb2.ModelContractOrchestrator(
        workflow_id=key or workflow_id, initial_state=data.pack(request)
    )


def unknown() -> orchestrator_pb2.ModelContractOrchestrator:
    return orchestrator_pb2.ModelContractOrchestrator(
        workflow_id="unknown", initial_state=data.pack(desk_pb2.ReadLineRequest())
    )


INJECTED = "x\r\nBcc: e@x"


def place(order_id: str, line_id: str, cents: int = 1, key: str = "") -> Message:
    line = orders_pb2.OrderLine(order_id=line_id, customer_id="1", quantity=1)
    order = orders_pb2.PricedOrder(line=line, amount_cents=cents)
    request = order_service_pb2.PlaceOrderRequest(order_id=order_id, order=order)
    return reduction("PlaceOrder", request, key or order_id)


def ship(key: str) -> Message:
    return reduction("ShipOrder", order_service_pb2.ShipOrderRequest(order_id=key), key)


@pytest.mark.parametrize(
    ("request_", "reason"),
    _numbered(
        (reduction("FLY"), "INVALID_CONTRACT"),
        (reduction("\0"), "INVALID_CONTRACT"),
        (ship("k"), "ILLEGAL_TRANSITION"),
        (ship("\0../ключ"), "INVALID_CONTRACT"),
        (ship("../ключ"), "ILLEGAL_TRANSITION"),
        (ship("k" * 100_000), "INVALID_CONTRACT"),
        (reduction("PlaceOrder"), "INVALID_CONTRACT"),
        (reduction("PlaceOrder", orders_pb2.OrderLine()), "INVALID_CONTRACT"),
        (place("a", "a", key="b"), "INVALID_CONTRACT"),
        (place("a", "b"), "GUARD_REJECTED"),
        (place("a", "a", cents=-1), "GUARD_REJECTED"),
        (place(INJECTED, INJECTED), "GUARD_REJECTED"),
    ),
)
def test_bad_actions(mesh: Served, request_: Message, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        mesh.call("ReducerNodeService/ExecuteReduction", request_)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("request_", "reason"),
    _numbered(
        (read("../../../etc/passwd"), "INVALID_CONTRACT"),
        (read("/etc/passwd"), "INVALID_CONTRACT"),
        (read("a\0b"), "INVALID_CONTRACT"),
        (read("x" * 5000), "INVALID_CONTRACT"),
        (read("é\u202e.csv"), "FILE_MISSING"),
        (effect("nope", file=operation_pb2.FileOperation(path="a")), "INVALID_CONTRACT"),
        (effect("../x", custom=data.pack(orders_pb2.Order()).message), "TARGET_NOT_FOUND"),
        (insert("orders; DROP TABLE orders", "order_id"), "OPERATION_REFUSED"),
        (insert("sqlite_master", "name"), "OPERATION_REFUSED"),
        (insert("orders", 'order_id") VALUES (1);--'), "OPERATION_REFUSED"),
        (insert("orders", "order_id"), "INVALID_CONTRACT"),
        (mail("customer-1@example.invalid\r\nBcc: e@x.invalid"), "INVALID_CONTRACT"),
        (mail("customer-1@example.invalid,e@x.invalid"), "OPERATION_REFUSED"),
        (mail("customer-1@example.invalid", "1\r\nBcc: e@x.invalid"), "INVALID_CONTRACT"),
    ),
)
def test_bad_effects(mesh: Served, request_: Message, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        mesh.call("EffectNodeService/ExecuteEffect", request_)
    assert refused.value.reason == reason


@pytest.mark.parametrize("topic", ["a b", "é", "../x", "x" * 200, "\0"])
def test_bad_topics(mesh: Served, topic: str) -> None:
    with pytest.raises(Refused) as refused:
        mesh.call("EventBusService/Publish", event(topic))
    assert refused.value.fields == ["event.topic"]


@pytest.mark.parametrize("token", ["x", "-1", "9" * 30, "\u0661"])
def test_bad_page_tokens(mesh: Served, token: str) -> None:
    request = intent_pb2.ListIntentsRequest(status=1, page_token=token)  # type: ignore[arg-type]
    with pytest.raises(Refused) as refused:
        mesh.call("IntentQueueService/ListIntents", request)
    assert refused.value.fields == ["page_token"]


def test_numbers_in_messages_are_exact(mesh: Served) -> None:
    request = lease_pb2.RenewLeaseRequest(
        workflow_id="w", lease_id=str(uuid.uuid4()), fence=2**64 - 1
    )
    with pytest.raises(Refused, match="is 18446744073709551615; 1 to 9223372036854775807"):
        mesh.call("LeaseService/RenewLease", request)


@pytest.mark.parametrize(
    ("request_", "reason"),
    _numbered(
        *((workflow("a", workflow_id=name), "INVALID_CONTRACT") for name in ("../x", "é", "\0")),
        (workflow(), "INVALID_CONTRACT"),
        (workflow("a", "a"), "INVALID_CONTRACT"),
        (workflow("a\0"), "INVALID_CONTRACT"),
        (workflow("a", target="martian"), "INVALID_CONTRACT"),
        (workflow("a", target="reducer"), "INVALID_CONTRACT"),
        (workflow("a", target="compute/nope"), "TARGET_NOT_FOUND"),
        (workflow("a", expression="steps.zz.output"), "INVALID_CONTRACT"),
        (workflow("a", expression="1 +"), "INVALID_CONTRACT"),
        (workflow("a", expression="1/0"), "WORKFLOW_EXECUTION"),
        (workflow("a", expression="'x'"), "WORKFLOW_EXECUTION"),
        (fulfil("orders.csv", 2, key="w"), "INVALID_CONTRACT"),
        (fulfil("cdnow_orders.csv", 0), "INVALID_CONTRACT"),
        (fulfil("cdnow_orders.csv", 1), "INVALID_CONTRACT"),
        (fulfil("cdnow_orders.csv", 10**9), "FILE_MISSING"),
        (fulfil("../x", 1), "INVALID_CONTRACT"),
        (unknown(), "INVALID_CONTRACT"),
    ),
)
def test_bad_workflows(mesh: Served, request_: Message, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        mesh.call("OrchestratorNodeService/ExecuteOrchestration", request_)
    assert refused.value.reason == reason


def test_a_step_with_a_giant_timeout_is_done(mesh: Served) -> None:
    request = workflow("a")
    request.workflow_config.steps[0].timeout.seconds = 10**11
    mesh.call("OrchestratorNodeService/ExecuteOrchestration", request)


def test_a_result_too_large_for_one_message_says_so(mesh: Served) -> None:
    request = workflow("a", "b", "c", "d", expression="input")
    request.initial_state.CopyFrom(data.pack([float(number) for number in range(100_000)]))
    for _ in range(2):
        with pytest.raises(Refused, match="at most 4194304 are allowed") as refused:
            mesh.call("OrchestratorNodeService/ExecuteOrchestration", request)
        assert refused.value.reason == "RESOURCE_EXHAUSTED"


def test_methods_that_do_not_exist(mesh: Served) -> None:
    for path in ("ComputeNodeService/Nope", "NodeService/"):
        with pytest.raises(Refused) as refused:
            mesh.call(path, b"")
        assert refused.value.code == "UNIMPLEMENTED"
