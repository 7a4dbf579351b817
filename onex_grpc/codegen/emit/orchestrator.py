"""The base class of an orchestrator, and the mesh that its workflows call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.codegen.emit.contract import node_id
from onex_grpc.codegen.emit.signature import (
    abstract_method,
    async_answer,
    calls_doc,
    service_doc,
    service_name,
)
from onex_grpc.codegen.names import constant_name, mesh_properties
from onex_grpc.codegen.writer import quote

if TYPE_CHECKING:
    from onex_grpc.codegen.emit.page import Page
    from onex_grpc.codegen.schema import NodeRecord


def emit_mesh(page: Page, node: NodeRecord) -> None:
    """Writes `<Base>Mesh`."""
    page.out.line(f"class {node.base}Mesh({page.onex('WorkflowMesh')}):")
    with page.out.indented():
        page.out.doc(
            f"The services that {service_name(node)} depends on;"
            " each call is a durable step of the workflow."
        )
        called = dict.fromkeys(node.options.depends_on)
        for service, name in mesh_properties(called).items():
            page.out.blank(1)
            _emit_property(page, page.schema.nodes[service], name)


def _emit_property(page: Page, called: NodeRecord, name: str) -> None:
    client = f"{called.base}Client"
    if called.place.file != page.file:
        client = f"{page.imports.generated(called.place.file)}.{client}"
    page.out.line("@property")
    page.out.line(f"def {name}(self) -> {client}:")
    with page.out.indented():
        page.out.doc(calls_doc(called))
        page.out.line(f"return {client}(self._caller_of({quote(node_id(called))}))")


def emit_orchestrator(page: Page, node: NodeRecord) -> None:
    """Writes `<Base>Orchestrator`."""
    page.out.line(f"class {node.base}Orchestrator({page.onex('TypedOrchestrator')}):")
    with page.out.indented():
        page.out.doc(service_doc(node))
        page.out.blank(1)
        page.out.line(f"contract = {constant_name(node.base)}")
        page.out.line(f"mesh_type = {node.base}Mesh")
        for rpc in node.rpcs:
            page.out.blank(1)
            define, returns = async_answer(page, rpc)
            # Also of a stream of requests: each message is one workflow.
            parameters = [
                f"request: {page.message(rpc.request)}",
                f"mesh: {node.base}Mesh",
                f"workflow: {page.onex('WorkflowCall')}",
            ]
            abstract_method(page, rpc, define, parameters, returns)
