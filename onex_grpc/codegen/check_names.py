"""The check that what is generated has names that Python allows and nothing else has."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from onex.v1 import common_pb2
from onex_grpc.codegen.check_scope import simple_name
from onex_grpc.codegen.fault import Fault
from onex_grpc.codegen.names import (
    class_names,
    constant_name,
    is_taken,
    mesh_properties,
    rpc_constant,
)
from onex_grpc.codegen.reserved import ATTRIBUTES, MESH_ATTRIBUTES
from onex_grpc.codegen.schema import Place
from onex_grpc.contract.proto_file import module_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from onex_grpc.codegen.check_scope import Scope
    from onex_grpc.codegen.schema import MessageType, NodeRecord

_RENAME: Final = "rename it"
_FOREIGN: Final[Mapping[str, str]] = {
    **dict.fromkeys(sys.stdlib_module_names, "Python's own"),
    **dict.fromkeys(("grpc", "onex_grpc"), "onex-grpc's own"),
}


def check_files(scope: Scope) -> Iterator[Fault]:
    """The names of modules, and of what stands in each besides the methods."""
    modules: dict[str, str] = {}
    for file, nodes in scope.generated_files.items():
        fault = path_fault(file)
        if fault:
            yield Fault(Place(file), f"its Python module could not be imported: {fault}", _RENAME)
        first = modules.setdefault(module_of(file, ""), file)
        if first != file:
            what = f"its Python module would be that of {first}"
            yield Fault(Place(file), what, "rename one of them")
        yield from _module_names(scope, file, nodes)


def check_python_names(scope: Scope, node: NodeRecord) -> Iterator[Fault]:
    """The names of a node's service, methods and messages."""
    yield from _service_name(scope, node)
    yield from _methods(scope, node)
    yield from _messages(scope, node)
    if node.options.type == common_pb2.NODE_TYPE_ORCHESTRATOR:
        yield from _mesh(scope, node)


def path_fault(file: str) -> str:
    """Why a proto's path gives no importable module; empty where it does."""
    *folders, last = file.removesuffix(".proto").replace("-", "_").split("/")
    if "." in last:
        return f"{last!r} has a dot"
    for part in (*folders, f"{last}_pb2"):
        if is_taken(part):
            return f"{part!r} is not a name in Python"
    # A folder without __init__.py comes after every module of its name, wherever that is.
    if folders and folders[0] in _FOREIGN:
        return f"{folders[0]!r} is a module of {_FOREIGN[folders[0]]}, which hides the folder"
    return ""


def _module_names(scope: Scope, file: str, nodes: Sequence[NodeRecord]) -> Iterator[Fault]:
    messages = {message.name for message in scope.schema.files[file].message_type}
    taken: dict[str, str] = {}
    for node in nodes:
        service = simple_name(node.service)
        for name, what in _generated(node).items():
            other = taken.setdefault(name, what)
            if other is not what:
                # One fault a pair of services says it all.
                yield Fault(
                    scope.of_service(node.service),
                    f"{what} and {other} would both be {name} in Python",
                    f"rename {service}, or move it to another file",
                )
                break
        for name in class_names(node.base, node.options.type):
            if name in messages:
                yield Fault(
                    scope.of_service(node.service),
                    f"{service} and the message {name} would both be {name} in Python",
                    "rename one of them",
                )


def _generated(node: NodeRecord) -> Mapping[str, str]:
    """The names that a node has in its module, and of what they are."""
    service = simple_name(node.service)
    names = (constant_name(node.base), *class_names(node.base, node.options.type))
    return dict.fromkeys(names, service) | {
        rpc_constant(node.base, rpc.name): f"{service}.{rpc.name}" for rpc in node.rpcs
    }


def _service_name(scope: Scope, node: NodeRecord) -> Iterator[Fault]:
    service = simple_name(node.service)
    if service == "Service":
        yield Fault(
            scope.of_service(node.service),
            "Service has no name besides its suffix",
            "name it after what it does, as in OrderService",
        )
    elif service.startswith("_"):
        yield Fault(
            scope.of_service(node.service),
            f"{service} starts with an underscore, which in Python is private",
            _RENAME,
        )


def _methods(scope: Scope, node: NodeRecord) -> Iterator[Fault]:
    service = simple_name(node.service)
    reserved = ATTRIBUTES.get(node.options.type, frozenset())
    seen: dict[str, str] = {}
    for rpc in node.rpcs:
        first = seen.setdefault(rpc.method, rpc.name)
        if first != rpc.name:
            fault = f"would be the method {rpc.method} in Python, and so would {first}"
        elif rpc.name.startswith("_"):
            fault = "starts with an underscore, which in Python is private"
        elif is_taken(rpc.method):
            fault = f"would be the method {rpc.method}, which is a keyword of Python"
        elif rpc.method in reserved:
            fault = f"would be the method {rpc.method}, which its node or client has for itself"
        else:
            continue
        yield Fault(
            scope.of_rpc(node.service, rpc.name), f"{service}.{rpc.name} {fault}", "rename the rpc"
        )


def _messages(scope: Scope, node: NodeRecord) -> Iterator[Fault]:
    service, seen = simple_name(node.service), set[str]()
    for message, user, field in _used(scope, node):
        fault = "" if message.full_name in seen else _message_fault(scope, message)
        seen.add(message.full_name)
        if fault:
            rpc = user.partition(".")[2]
            place = scope.of_rpc(node.service, rpc) if rpc else scope.of_node(node, field)
            yield Fault(place, f"{user or service} uses {fault}", _RENAME)


def _used(scope: Scope, node: NodeRecord) -> Iterator[tuple[MessageType, str, str]]:
    """The messages that the generated module names, and the rpc or the option that brings each."""
    service = simple_name(node.service)
    for rpc in node.rpcs:
        yield rpc.request, f"{service}.{rpc.name}", ""
        yield rpc.response, f"{service}.{rpc.name}", ""
    if node.options.state in scope.schema.messages:
        yield scope.schema.messages[node.options.state], "", "state"
    for name in node.options.emits:
        if name in scope.rpcs:
            yield scope.rpcs[name].request, "", "emits"


def _message_fault(scope: Scope, message: MessageType) -> str:
    for part in message.path:
        if is_taken(part):
            return f"the message {message.full_name}: {part!r} is a keyword of Python"
    # Of files with nodes it is said once a file.
    fault = "" if message.file in scope.generated_files else path_fault(message.file)
    return f"{message.full_name} of {message.file}: {fault}" if fault else ""


def _mesh(scope: Scope, node: NodeRecord) -> Iterator[Fault]:
    service, seen = simple_name(node.service), dict[str, str]()
    known = [name for name in dict.fromkeys(node.options.depends_on) if name in scope.schema.nodes]
    for callee, name in mesh_properties(known).items():
        first = seen.setdefault(name, callee)
        file = scope.file_of(callee)
        if first != callee:
            fault = f"would be mesh.{name} in Python, and so would {first}"
        elif is_taken(name):
            fault = f"would be mesh.{name} in Python, which is a keyword there"
        elif name in MESH_ATTRIBUTES:
            fault = f"would be mesh.{name} in Python, which the mesh has for itself"
        elif file not in scope.generated_files and path_fault(file):
            fault = f"is of {file}: {path_fault(file)}"
        else:
            continue
        yield Fault(
            scope.of_node(node, "depends_on"),
            f"{service} depends on {callee}, which {fault}",
            _RENAME,
        )
