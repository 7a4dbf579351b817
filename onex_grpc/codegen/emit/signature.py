"""Signatures of generated methods, and their docstrings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.codegen.emit.page import Page
    from onex_grpc.codegen.schema import NodeRecord, RpcRecord


def request_of(page: Page, rpc: RpcRecord) -> str:
    """The parameter of an asynchronous handler: a message, or the stream of them."""
    request = page.message(rpc.request)
    if rpc.request_streaming:
        return f"requests: {page.imports.standard('AsyncIterator')}[{request}]"
    return f"request: {request}"


def async_answer(page: Page, rpc: RpcRecord) -> tuple[str, str]:
    """How an asynchronous handler is defined, `async def` or `def`, and what it returns."""
    response = page.message(rpc.response)
    if rpc.response_streaming:
        return "def", f"{page.imports.standard('AsyncGenerator')}[{response}, None]"
    return "async def", response


def abstract_method(
    page: Page, rpc: RpcRecord, define: str, parameters: Sequence[str], returns: str
) -> None:
    """Writes an abstract method with the rpc's comment."""
    page.out.line(f"@{page.imports.standard('abstractmethod')}")
    page.out.listed(f"{define} {rpc.method}(", ["self", *parameters], f") -> {returns}:")
    with page.out.indented():
        page.out.doc(rpc_doc(rpc))


def rpc_doc(rpc: RpcRecord) -> str:
    """The docstring of a method for an rpc."""
    return rpc.comment or f"{rpc.name} has no comment in the proto."


def service_name(node: NodeRecord) -> str:
    """The service's name without its package."""
    return node.service.rpartition(".")[2]


def service_doc(node: NodeRecord) -> str:
    """The docstring of a class for a service."""
    return node.comment or f"{service_name(node)} has no comment in the proto."


def calls_doc(node: NodeRecord) -> str:
    """The docstring of a class that calls a service."""
    head = f"Calls {service_name(node)}."
    return f"{head}\n\n{node.comment}" if node.comment else head
