"""The base class of an effect node, and the intents that ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.codegen.emit.signature import (
    abstract_method,
    async_answer,
    request_of,
    rpc_doc,
    service_doc,
    service_name,
)
from onex_grpc.codegen.names import constant_name
from onex_grpc.codegen.writer import quote

if TYPE_CHECKING:
    from onex_grpc.codegen.emit.page import Page
    from onex_grpc.codegen.schema import NodeRecord, RpcRecord


def emit_effect(page: Page, node: NodeRecord) -> None:
    """Writes `<Base>Effect`."""
    page.out.line(f"class {node.base}Effect({page.onex('TypedEffect')}):")
    with page.out.indented():
        page.out.doc(service_doc(node))
        page.out.blank(1)
        page.out.line(f"contract = {constant_name(node.base)}")
        for rpc in node.rpcs:
            page.out.blank(1)
            define, returns = async_answer(page, rpc)
            parameters = [request_of(page, rpc), f"call: {page.onex('EffectCall')}"]
            abstract_method(page, rpc, define, parameters, returns)


def emit_intents(page: Page, node: NodeRecord) -> None:
    """Writes `<Base>Intents`; nothing where all rpcs are streams, which no intent can ask for."""
    unary = [rpc for rpc in node.rpcs if not (rpc.request_streaming or rpc.response_streaming)]
    if not unary:
        return
    page.out.blank(2)
    page.out.line(f"class {node.base}Intents:")
    with page.out.indented():
        page.out.doc(f"Intents that ask for the rpcs of {service_name(node)}.")
        for rpc in unary:
            page.out.blank(1)
            _intent(page, node, rpc)


def _intent(page: Page, node: NodeRecord, rpc: RpcRecord) -> None:
    request = page.message(rpc.request)
    intent = f"{page.onex('Intent')}[{request}]"
    page.out.line("@staticmethod")
    parameters = [
        f"request: {request}",
        "*",
        f"priority: {page.onex('IntentPriority')} = {page.onex('NORMAL')}",
        'idempotency_key: str = ""',
        'order_key: str = ""',
        f"retry: {page.onex('RetryPolicy')} | None = None",
    ]
    page.out.listed(f"def {rpc.method}(", parameters, f") -> {intent}:")
    with page.out.indented():
        page.out.doc(rpc_doc(rpc))
        arguments = [
            f"rpc={quote(f'{node.service}/{rpc.name}')}",
            "request=request",
            "priority=priority",
            "idempotency_key=idempotency_key",
            "order_key=order_key",
            "retry=retry",
        ]
        page.out.listed(f"return {page.onex('Intent')}(", arguments, ")")
