"""Whatever options a contract has, the linter answers; and what it takes, the generator writes."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from google.protobuf import descriptor_pb2
from google.protobuf.compiler import plugin_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from onex.v1 import common_pb2, options_pb2
from onex_grpc.codegen.plugin import generate
from orders.v1 import order_service_pb2, orders_pb2

if TYPE_CHECKING:
    from google.protobuf.descriptor import FileDescriptor

SERVICES = ["AService", "BService", "Service", "ClassService", "A", "order_book", "AShop"]
RPCS = ["PlaceOrder", "Import", "Start", "Get", "GET", "ShopAsk", "Ask", "_x"]
MESSAGES = [".orders.v1.PlaceOrderRequest", ".orders.v1.ConfirmPaymentRequest", ".orders.v1.Order"]
STATES = ["ORDER_STATUS_IDLE", "ORDER_STATUS_SHIPPED", "ORDER_STATUS_UNSPECIFIED", "IDLE", ""]
NAMES = ["a.v1.AService", "a.v1.BService", "a.v1.C", "", "x y"]

transitions = st.builds(
    options_pb2.TransitionOptions,
    sources=st.lists(st.sampled_from(STATES), max_size=3),
    targets=st.lists(st.sampled_from(STATES), max_size=2),
    guard=st.sampled_from(["", "true", "state.status == 1", "(", "&&", "'", "a ? b", "x || !x"]),
)
operations = st.builds(
    options_pb2.OperationOptions,
    idempotent=st.booleans(),
    cacheable=st.booleans(),
    retry=st.none() | st.builds(common_pb2.RetryPolicy, max_retries=st.integers(0, 200)),
)
nodes = st.builds(
    options_pb2.NodeOptions,
    type=st.integers(0, 5),
    version=st.sampled_from(["1.0.0", "1", ""]),
    name=st.sampled_from(["", "a", "A"]),
    depends_on=st.lists(st.sampled_from(NAMES), max_size=2),
    emits=st.lists(
        st.sampled_from(["a.v1.AService/Ask", "a.v1.BService/Ask", "/", "a"]), max_size=2
    ),
    state=st.sampled_from(["", "orders.v1.Order", "orders.v1.OrderLine", "a.v1.No"]),
    state_field=st.sampled_from(["", "status", "order", "no"]),
    initial=st.sampled_from(STATES),
    key=st.sampled_from(["", "order_id", "order", "order.line.order_id", ".", "a..b"]),
)
# Of what is drawn from all the above, next to nothing is without a mistake.
sound_nodes = st.builds(
    options_pb2.NodeOptions, type=st.integers(1, 2), version=st.just("1.0.0"), name=st.just("")
)


@st.composite
def sound_services(draw: st.DrawFn, name: str) -> descriptor_pb2.ServiceDescriptorProto:
    service = descriptor_pb2.ServiceDescriptorProto(name=name)
    names = draw(st.lists(st.sampled_from(RPCS), min_size=1, max_size=3, unique=True))
    for rpc, message in zip(names, MESSAGES, strict=False):
        service.method.add(name=rpc, input_type=message, output_type=message)
    service.options.Extensions[options_pb2.node].CopyFrom(draw(sound_nodes))
    return service


@st.composite
def rpcs(draw: st.DrawFn, name: str) -> descriptor_pb2.MethodDescriptorProto:
    rpc = descriptor_pb2.MethodDescriptorProto(
        name=name,
        input_type=draw(st.sampled_from(MESSAGES)),
        output_type=draw(st.sampled_from(MESSAGES)),
        client_streaming=draw(st.booleans()),
        server_streaming=draw(st.booleans()),
    )
    rpc.options.Extensions[options_pb2.transition].extend(draw(st.lists(transitions, max_size=2)))
    if draw(st.booleans()):
        rpc.options.Extensions[options_pb2.operation].CopyFrom(draw(operations))
    return rpc


@st.composite
def services(draw: st.DrawFn, name: str) -> descriptor_pb2.ServiceDescriptorProto:
    names = draw(st.lists(st.sampled_from(RPCS), max_size=3, unique=True))
    service = descriptor_pb2.ServiceDescriptorProto(
        name=name, method=[draw(rpcs(each)) for each in names]
    )
    if draw(st.integers(0, 5)):
        service.options.Extensions[options_pb2.node].CopyFrom(draw(nodes))
    return service


@st.composite
def requests(draw: st.DrawFn) -> plugin_pb2.CodeGeneratorRequest:
    names = draw(st.lists(st.sampled_from(SERVICES), min_size=1, max_size=3, unique=True))
    request = plugin_pb2.CodeGeneratorRequest(file_to_generate=["a/v1/a.proto"])
    _add(request, order_service_pb2.DESCRIPTOR)
    request.proto_file.add(
        name="a/v1/a.proto",
        package="a.v1",
        syntax="proto3",
        dependency=[order_service_pb2.DESCRIPTOR.name, orders_pb2.DESCRIPTOR.name],
        service=[draw(services(name) | sound_services(name)) for name in names],
    )
    return request


def _add(request: plugin_pb2.CodeGeneratorRequest, file: FileDescriptor) -> None:
    for imported in file.dependencies:
        _add(request, imported)
    if all(file.name != known.name for known in request.proto_file):
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)
        request.proto_file.append(proto)


@given(requests())
@settings(max_examples=150, deadline=None)
def test_the_answer_is_mistakes_or_a_module(request: plugin_pb2.CodeGeneratorRequest) -> None:
    said = generate(request)
    for line in said.error.splitlines():
        assert line.startswith("a/v1/a.proto: ")
        assert "; " in line
    if not said.error:
        ast.parse(said.file[0].content)
