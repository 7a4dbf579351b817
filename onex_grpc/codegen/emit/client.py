"""The client of a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.codegen.emit.signature import async_answer, calls_doc, rpc_doc
from onex_grpc.codegen.names import constant_name

if TYPE_CHECKING:
    from onex_grpc.codegen.emit.page import Page
    from onex_grpc.codegen.schema import NodeRecord, RpcRecord


def emit_client(page: Page, node: NodeRecord) -> None:
    """Writes `<Base>Client`."""
    page.out.line(f"class {node.base}Client({page.onex('Client')}):")
    with page.out.indented():
        page.out.doc(calls_doc(node))
        page.out.blank(1)
        page.out.line(f"contract = {constant_name(node.base)}")
        for rpc in node.rpcs:
            page.out.blank(1)
            _emit_method(page, node, rpc)


def _emit_method(page: Page, node: NodeRecord, rpc: RpcRecord) -> None:
    name, parameter = "request", f"request: {page.message(rpc.request)}"
    if rpc.request_streaming:
        name = "requests"
        parameter = f"requests: {page.onex('Requests')}[{page.message(rpc.request)}]"
    define, returns = async_answer(page, rpc)
    form, bounds = _form(rpc), ["timeout"]
    if form == "unary":
        # What only a step has: a workflow takes no streams.
        bounds.append("within")
    parameters = ["self", parameter, "*", *(f"{bound}: float | None = None" for bound in bounds)]
    page.out.listed(f"{define} {rpc.method}(", parameters, f") -> {returns}:")
    with page.out.indented():
        page.out.doc(rpc_doc(rpc))
        arguments = ", ".join((page.rpc_constant(node, rpc), name, *bounds))
        call = f"self._caller.{form}({arguments})"
        page.out.line(f"return {call}" if rpc.response_streaming else f"return await {call}")


def _form(rpc: RpcRecord) -> str:
    if rpc.request_streaming:
        return "bidi" if rpc.response_streaming else "client_stream"
    return "server_stream" if rpc.response_streaming else "unary"
