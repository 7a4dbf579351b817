"""The base class of a compute node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.codegen.emit.signature import abstract_method, async_answer, request_of, service_doc
from onex_grpc.codegen.names import constant_name

if TYPE_CHECKING:
    from onex_grpc.codegen.emit.page import Page
    from onex_grpc.codegen.schema import NodeRecord, RpcRecord


def emit_compute(page: Page, node: NodeRecord) -> None:
    """Writes `<Base>Compute`."""
    page.out.line(f"class {node.base}Compute({page.onex('TypedCompute')}):")
    with page.out.indented():
        page.out.doc(service_doc(node))
        page.out.blank(1)
        page.out.line(f"contract = {constant_name(node.base)}")
        for rpc in node.rpcs:
            page.out.blank(1)
            define, returns = _answer(page, rpc)
            abstract_method(page, rpc, define, [request_of(page, rpc)], returns)


def _answer(page: Page, rpc: RpcRecord) -> tuple[str, str]:
    # Only what arrives over time needs to be waited for.
    if rpc.request_streaming:
        return async_answer(page, rpc)
    response = page.message(rpc.response)
    if rpc.response_streaming:
        return "def", f"{page.imports.standard('Iterator')}[{response}]"
    return "def", response
