from itertools import product

import pytest

from onex_grpc.context import CallContext
from onex_grpc.contract.node import KIND_ORDER
from onex_grpc.errors import FlowViolationError, NodeUnavailableError
from onex_grpc.rpc.calls import Method
from onex_grpc.serve.admissions import check_flow, wait_for_start

ALLOWED = {
    ("compute", "effect"),
    ("reducer", "effect"),
    ("reducer", "compute"),
    *(("orchestrator", kind) for kind in KIND_ORDER),
}
ABOUT = Method("/onex.v1.NodeService/GetNodeHealth")
COMPUTE = Method("/onex.v1.ComputeNodeService/ExecuteCompute")


def call(caller: str = "") -> CallContext:
    return CallContext("0b1f3f6e-96b1-4a9e-9a5c-0f6d7a1c2b3d", caller=caller)


@pytest.mark.parametrize(("caller", "callee"), list(product(KIND_ORDER, KIND_ORDER)))
def test_data_flows_one_way(caller: str, callee: str) -> None:
    method = Method(f"/onex.v1.{callee.capitalize()}NodeService/Execute")

    if (caller, callee) in ALLOWED:
        check_flow(call(f"{caller}/orders"), method)
    else:
        with pytest.raises(FlowViolationError, match=f"{caller}/orders may not call"):
            check_flow(call(f"{caller}/orders"), method)


@pytest.mark.parametrize("kind", KIND_ORDER)
@pytest.mark.parametrize("caller", ["martian/orders", "EFFECT/orders", "/", "orders"])
def test_a_caller_of_no_kind_may_call_none(caller: str, kind: str) -> None:
    method = Method(f"/onex.v1.{kind.capitalize()}NodeService/Execute")
    with pytest.raises(FlowViolationError, match="may not call"):
        check_flow(call(caller), method)


@pytest.mark.parametrize("kind", KIND_ORDER)
def test_outside_clients_call_all_kinds(kind: str) -> None:
    method = Method(f"/onex.v1.{kind.capitalize()}NodeService/Execute")
    check_flow(call(), method)


def test_services_of_the_mechanisms_are_open_to_all() -> None:
    check_flow(call("effect/orders"), Method("/onex.v1.EventBusService/Publish"))
    check_flow(call("effect/orders"), Method("/onex.v1.IntentQueueService/Take"))


def test_calls_are_refused_until_the_node_has_started() -> None:
    serving = False
    admit = wait_for_start("compute/orders", lambda: serving)

    with pytest.raises(NodeUnavailableError, match="compute/orders is starting"):
        admit(call(), COMPUTE)
    assert admit(call(), ABOUT) is None
    serving = True
    assert admit(call(), COMPUTE) is None
