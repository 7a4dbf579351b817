"""The span of an intent's creation, at a real OTLP receiver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex.v1 import intent_pb2, node_pb2, reducer_pb2
from onex_grpc.container import ModelONEXContainer
from onex_grpc.context import CallContext, enter_call
from onex_grpc.node.reducer import NodeReducer
from onex_grpc.reducer import ReducerAction, Reduction
from onex_grpc.store import Store, open_store
from onex_grpc.telemetry import SpanKind, Telemetry, names
from onex_grpc.testing.otlp import OtlpReceiver
from orders.v1 import orders_pb2

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

ID = "0198c0de-0000-7000-8000-000000000001"


class Notes(NodeReducer[orders_pb2.Order]):
    descriptor = node_pb2.NodeDescriptor(name="notes", version="1.0.0")
    state_type = orders_pb2.Order

    def transition(
        self, state: orders_pb2.Order, action: ReducerAction
    ) -> Reduction[orders_pb2.Order]:
        intent = intent_pb2.ModelIntent(
            intent_type=intent_pb2.INTENT_TYPE_MESSAGE_PUBLISH, target="log"
        )
        intent.payload.message.event_type = "E"
        return Reduction(state, (intent,))


async def test_intent_carries_the_place_of_its_creation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OtlpReceiver() as receiver:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)
        telemetry = Telemetry.from_environment(node="reducer/notes")
        store = await open_store(tmp_path / "notes.db")
        container = ModelONEXContainer()
        container.register(Store, store)
        container.register(Telemetry, telemetry)
        outer = telemetry.start_span("outer", SpanKind.SERVER, correlation_id=ID)
        enter_call(CallContext(ID, traceparent=outer.traceparent))
        contract = reducer_pb2.ModelContractReducer(correlation_id=ID)
        contract.reduction_config.state_key = "k"
        contract.input_data.action = "GO"
        output = await Notes(container).execute_reduction(contract)
        outer.end()
        (claim,) = await store.claim_intents("effect/x", 1, 1_000_000)
        await telemetry.shutdown()
        await store.close()
        spans = {span.name: span for span in receiver.wait_for(2)}
    created, above = spans["create log"], spans["outer"]
    assert created.kind == SpanKind.PRODUCER
    assert (created.trace_id, created.parent_id) == (above.trace_id, above.span_id)
    assert claim.traceparent.split("-")[1:3] == [created.trace_id, created.span_id]
    assert created.attributes[names.INTENT_ID] == output.intents[0].intent_id
    assert created.attributes[names.CORRELATION_ID] == ID
