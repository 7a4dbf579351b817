"""What a node's process checks of every call before its handler runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.contract.node import KIND_ORDER, may_call
from onex_grpc.errors import FlowViolationError, NodeUnavailableError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from onex_grpc.context import CallContext
    from onex_grpc.rpc.calls import Admit, Method

NODE_SERVICES: Final = {f"onex.v1.{kind.capitalize()}NodeService": kind for kind in KIND_ORDER}
"""The four services between which data flows one way, each with its kind."""
ABOUT: Final = "onex.v1.NodeService"
"""Answers at any time: what a node is, and how it is."""

_OWN: Final = "onex.v1."


def is_mechanism(service: str) -> bool:
    """Return whether a service is one of the mesh's own, which every node may need: leases,
    intents, events, the registry, workflows.
    """
    return service.startswith(_OWN) and service not in NODE_SERVICES


def check_flow(call: CallContext, method: Method) -> None:
    """Admits calls of outside clients, and of nodes whose kind comes after the one called.

    Guards against mistakes only: a caller that lies about itself passes.

    Raises:
        FlowViolationError: for a node that may not call this kind.
    """
    callee = NODE_SERVICES.get(method.service)
    if callee is not None and call.caller:
        _check_direction(call, method, callee)


def check_flow_to(service: str, kind: str) -> Admit:
    """As `check_flow`, for the service of a node's own contract.

    Args:
        service: full name of the service.
        kind: of the node that serves it.
    """

    def admit(call: CallContext, method: Method) -> None:
        if call.caller and method.service == service:
            _check_direction(call, method, kind)

    return admit


def _check_direction(call: CallContext, method: Method, callee: str) -> None:
    caller = call.caller.partition("/")[0]
    if not may_call(caller, callee):
        raise FlowViolationError(
            f"{call.caller} may not call {method.service}: data flows {' → '.join(KIND_ORDER)}, "
            "and a node calls only kinds before its own",
            context={"caller": call.caller, "callee": callee},
        )


def refuse_unfit(node: str, fault: Callable[[], str]) -> Admit:
    """Refuses calls of a node that was found unfit to serve.

    Args:
        node: as `kind/name`.
        fault: why it is; empty while it is not.
    """

    def admit(call: CallContext, method: Method) -> None:
        if (why := fault()) and method.service != ABOUT:
            raise StoreError(f"node {node} takes no calls: {why}")

    return admit


def wait_for_start(node: str, is_serving: Callable[[], bool]) -> Admit:
    """Refuses calls while the node starts; its port is bound before that, so that a second process
    fails early.
    """

    def admit(call: CallContext, method: Method) -> None:
        if not is_serving() and method.service != ABOUT:
            raise NodeUnavailableError(
                f"node {node} is starting; try again in a moment", retry_after=0.2
            )

    return admit
