"""One order through four processes: one trace, from the outside client to its last intent."""

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from onex_grpc.context import CallContext, enter_call
from onex_grpc.rpc import Mesh
from onex_grpc.telemetry import SpanKind, SpanRecord, Telemetry, names, render_tree
from onex_grpc.testing.otlp import OtlpReceiver
from orders.v1.fulfilment_onex import FulfilmentClient
from orders.v1.fulfilment_pb2 import FulfilOrderRequest
from servers.mesh import running_mesh
from servers.supervisor import KINDS, MeshLayout, free_ports

DATA = Path(__file__).parents[2] / "servers" / "data"
CLIENT = "onex.client.test"
# Three of PlaceOrder, one each of ConfirmPayment and ShipOrder.
INTENTS = 5
STEPS = (
    "DeskService/ReadLine",
    "PricingService/ParseLine",
    "PricingService/PriceOrder",
    "OrderService/PlaceOrder",
    "OrderService/ConfirmPayment",
    "OrderService/ShipOrder",
)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpReceiver]:
    for name in ("OTEL_TRACES_SAMPLER", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)
    with OtlpReceiver() as receiver:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)
        yield receiver


def is_complete(spans: Sequence[SpanRecord]) -> bool:
    consumed = [s for s in spans if s.kind is SpanKind.CONSUMER]
    return len(consumed) == INTENTS and any(s.service == CLIENT for s in spans)


async def test_one_order_is_one_trace(receiver: OtlpReceiver, tmp_path: Path) -> None:
    correlation_id = str(uuid.uuid4())
    csv_file = next(DATA.glob("*.csv"))
    layout = MeshLayout(tmp_path / "state", csv_file.parent, free_ports(len(KINDS)))
    telemetry = Telemetry.from_environment(service_name=CLIENT)
    async with running_mesh(layout, print):
        mesh = Mesh(layout.addresses, telemetry=telemetry)
        enter_call(CallContext(correlation_id))
        request = FulfilOrderRequest(workflow_id="order-one", file=csv_file.name, line=2)
        await FulfilmentClient(mesh).fulfil_order(request, timeout=30)
        await mesh.close()
        await telemetry.shutdown()
        receiver.wait_for(is_complete, timeout=15)
    # The servers have sent the rest on their way out.
    correlated = [
        s for s in receiver.spans if s.attributes.get(names.CORRELATION_ID) == correlation_id
    ]
    [root] = [span for span in correlated if not span.parent_id]
    of_order = [span for span in receiver.spans if span.trace_id == root.trace_id]
    spans = {span.span_id: span for span in of_order}

    tree = render_tree(of_order)
    assert {span.span_id for span in correlated} == spans.keys(), tree
    assert (root.kind, root.service) == (SpanKind.CLIENT, CLIENT)
    assert {s.node for s in of_order} == {"", *(f"{kind}/orders" for kind in KINDS)}
    for span in of_order:
        if span is not root:
            assert span.parent_id in spans, f"{span.name} hangs in the air\n{tree}"
        if span.kind is SpanKind.SERVER:
            caller = spans[span.parent_id]
            assert (caller.kind, caller.name) == (SpanKind.CLIENT, span.name)
            assert caller.service != span.service
        if span.kind is SpanKind.CONSUMER:
            created = spans[span.links[0][1]]
            assert (created.kind, created.node) == (SpanKind.PRODUCER, "reducer/orders")
    steps = [s.name for s in sorted(of_order, key=lambda s: s.start_ns) if s.name[:5] == "step "]
    assert steps == [f"step orders.v1.{rpc}" for rpc in STEPS]
    assert any(s.name.startswith("store ") for s in of_order)
