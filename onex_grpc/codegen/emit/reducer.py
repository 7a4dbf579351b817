"""The base class of a reducer, its state machine, and the type of its intents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.codegen.emit.signature import abstract_method, service_doc
from onex_grpc.codegen.names import constant_name
from onex_grpc.codegen.writer import exploded, quote, quoted, strings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onex.v1 import options_pb2
    from onex_grpc.codegen.emit.page import Page
    from onex_grpc.codegen.schema import MessageType, NodeRecord, RpcRecord

_STATE_FIELD = "status"
_GUARD_WIDTH = 70


def emit_reducer(page: Page, node: NodeRecord) -> None:
    """Writes `<Base>Intent`, what the reducer may ask for, and `<Base>Reducer`."""
    _emit_alias(page, node)
    page.out.blank(2)
    state = page.message(page.schema.messages[node.options.state])
    page.out.line(f"class {node.base}Reducer({page.onex('TypedReducer')}[{state}]):")
    with page.out.indented():
        page.out.doc(service_doc(node))
        page.out.blank(1)
        page.out.line(f"contract = {constant_name(node.base)}")
        page.out.line(f"state_type = {state}")
        if any(rpc.transitions for rpc in node.rpcs):
            _emit_machine(page, node)
        for rpc in node.rpcs:
            page.out.blank(1)
            _emit_method(page, node, rpc, state)


def _emit_alias(page: Page, node: NodeRecord) -> None:
    alias = f"{node.base}Intent: {page.imports.standard('TypeAlias')}"
    types = [f"{page.onex('Intent')}[{page.message(each)}]" for each in _emitted(page, node)]
    if not types:
        page.out.line(f"{alias} = {page.imports.standard('Never')}")
    elif len(types) == 1:
        page.out.line(f"{alias} = {types[0]}")
    else:
        page.out.line(f"{alias} = (")
        with page.out.indented():
            page.out.line(types[0])
            for each in types[1:]:
                page.out.line(f"| {each}")
        page.out.line(")")
    page.out.doc(f"What {node.base}Reducer may ask for.")


def _emitted(page: Page, node: NodeRecord) -> list[MessageType]:
    """The requests of the rpcs in `emits`, each once."""
    found: dict[str, MessageType] = {}
    for wish in node.options.emits:
        service, _, name = wish.rpartition("/")
        effect = page.schema.nodes[service]
        # The runtime looks the rpc up among the loaded ones; its messages may be of another file.
        page.imports.load(effect.place.file)
        asked = next(rpc for rpc in effect.rpcs if rpc.name == name)
        found[asked.request.full_name] = asked.request
    return list(found.values())


def _emit_machine(page: Page, node: NodeRecord) -> None:
    transitions = [
        exploded(f"{page.onex('Transition')}(", list(_edge(page, rpc, edge)), ")")
        for rpc in node.rpcs
        for edge in rpc.transitions
    ]
    arguments = [
        f"field={quote(node.options.state_field or _STATE_FIELD)}",
        f"initial={quote(node.options.initial)}",
        exploded("transitions=(", transitions, ")"),
    ]
    page.out.block(exploded(f"machine = {page.onex('StateMachine')}(", arguments, ")"))


def _edge(page: Page, rpc: RpcRecord, edge: options_pb2.TransitionOptions) -> Iterator[str]:
    yield quote(rpc.name)
    yield f"sources={strings(edge.sources)}"
    yield f"targets={strings(edge.targets)}"
    yield f"payload={page.message(rpc.request)}"
    if edge.guard:
        yield f"guard={quoted(edge.guard, _GUARD_WIDTH)}"


def _emit_method(page: Page, node: NodeRecord, rpc: RpcRecord, state: str) -> None:
    answer = page.message(rpc.response)
    if rpc.response_streaming:
        answer = f"{page.imports.standard('Sequence')}[{answer}]"
    parameters = [
        f"state: {state}",
        f"request: {page.message(rpc.request)}",
        f"action: {page.onex('Action')}",
    ]
    returns = f"{page.onex('Reduction')}[{state}, {answer}, {node.base}Intent]"
    abstract_method(page, rpc, "def", parameters, returns)
