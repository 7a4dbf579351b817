"""The linter and the running node say the same to a guard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.compiler import plugin_pb2

from onex_grpc.codegen.guard import Guards
from onex_grpc.codegen.read import read
from onex_grpc.errors import ConfigurationError
from onex_grpc.reducer.machine import Transition
from onex_grpc.reducer.machine_check import compile_guard
from orders.v1 import order_service_pb2, orders_pb2

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor

    from onex_grpc.codegen.schema import Schema


@pytest.fixture(scope="module")
def schema() -> Schema:
    request = plugin_pb2.CodeGeneratorRequest()
    add(request, order_service_pb2.DESCRIPTOR)
    return read(request)


def add(request: plugin_pb2.CodeGeneratorRequest, file: FileDescriptor) -> None:
    for imported in file.dependencies:
        add(request, imported)
    if all(file.name != known.name for known in request.proto_file):
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)
        request.proto_file.append(proto)


@pytest.mark.parametrize(
    "guard",
    [
        "state.status == 1",
        "action.order_id != ''",
        "state.status == orders.v1.OrderStatus.ORDER_STATUS_IDLE",
        "state.status == orders.v1.Nothing.AT_ALL",
        "onex.v1.RetryPolicy{max_retries: 3u}.max_retries > 2u",
        "state.nope",
        "action.order_id",
        "action.order_id == 3",
        "request.order_id == ''",
        "true &&",
        "",
    ],
)
def test_a_guard_is_refused_by_both_with_the_same_words(schema: Schema, guard: str) -> None:
    state, request = orders_pb2.Order, order_service_pb2.PlaceOrderRequest
    transition = Transition("PlaceOrder", ("A",), ("B",), payload=request, guard=guard)
    said = (
        ""
        if not guard
        else Guards(schema).fault(
            guard,
            schema.messages["orders.v1.Order"],
            schema.messages["orders.v1.PlaceOrderRequest"],
        )
    )
    if said:
        with pytest.raises(ConfigurationError) as raised:
            compile_guard(transition, state)
        assert raised.value.message.endswith(said)
    else:
        compile_guard(transition, state)
