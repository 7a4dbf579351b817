"""What every check of the linter needs: the records, and the lines where things stand."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from google.protobuf.descriptor_pb2 import (
    FileDescriptorProto,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)

from onex.v1 import options_pb2
from onex_grpc.codegen.guard import Guards
from onex_grpc.codegen.schema import Place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from onex_grpc.codegen.schema import NodeRecord, RpcRecord, Schema

_Path = tuple[int, ...]

_SERVICE: Final = FileDescriptorProto.SERVICE_FIELD_NUMBER
_METHOD: Final = ServiceDescriptorProto.METHOD_FIELD_NUMBER
_NODE: Final = (
    ServiceDescriptorProto.OPTIONS_FIELD_NUMBER,
    options_pb2.NODE_FIELD_NUMBER,
)
_TRANSITION: Final = (
    MethodDescriptorProto.OPTIONS_FIELD_NUMBER,
    options_pb2.TRANSITION_FIELD_NUMBER,
)
_OPERATION: Final = (
    MethodDescriptorProto.OPTIONS_FIELD_NUMBER,
    options_pb2.OPERATION_FIELD_NUMBER,
)
_NODE_FIELDS: Final = {f.name: f.number for f in options_pb2.NodeOptions.DESCRIPTOR.fields}
_OPERATION_FIELDS: Final = {
    f.name: f.number for f in options_pb2.OperationOptions.DESCRIPTOR.fields
}


class Scope:
    """The records of one run, with the places of services, rpcs and their options.

    A place is that of the option, where the compiler has noted it, else of the rpc or service.
    Inside an option that is written in braces the compiler notes no lines.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self._lines: dict[str, Mapping[_Path, int]] = {}

    @cached_property
    def services(self) -> Mapping[str, tuple[str, int]]:
        """File and index of every service, by its full name."""
        return {
            full_name(file, service): (file.name, index)
            for file in self.schema.files.values()
            for index, service in enumerate(file.service)
        }

    @cached_property
    def guards(self) -> Guards:
        """Says what is wrong with guards."""
        return Guards(self.schema)

    @cached_property
    def rpcs(self) -> Mapping[str, RpcRecord]:
        """The rpcs of all nodes, as `package.Service/Rpc`."""
        return {
            f"{node.service}/{rpc.name}": rpc
            for node in self.schema.nodes.values()
            for rpc in node.rpcs
        }

    @cached_property
    def generated(self) -> Sequence[NodeRecord]:
        """The nodes for which code is asked, in the order of the command, then of the proto."""
        order = {file: index for index, file in enumerate(self.schema.to_generate)}
        own = [node for node in self.schema.nodes.values() if self._position(node)[0] in order]
        return sorted(own, key=lambda node: (order[self._position(node)[0]], self._position(node)))

    @cached_property
    def generated_files(self) -> Mapping[str, Sequence[NodeRecord]]:
        """The nodes of each file for which a module is made."""
        files: dict[str, list[NodeRecord]] = {}
        for node in self.generated:
            files.setdefault(self.file_of(node.service), []).append(node)
        return files

    def raw_services(self) -> Iterator[tuple[str, ServiceDescriptorProto]]:
        """Every service of the files for which code is asked, by its full name, node or not."""
        for name in self.schema.to_generate:
            file = self.schema.files[name]
            for service in file.service:
                yield full_name(file, service), service

    def file_of(self, service: str) -> str:
        """The file in which a service stands."""
        return self.services[service][0]

    def of_service(self, service: str) -> Place:
        """The place of a service."""
        file, index = self.services[service]
        return self._first(file, (_SERVICE, index))

    def of_node(self, node: NodeRecord, field: str = "") -> Place:
        """The place of a field of the node's options; of the options for none."""
        return self.of_service_option(node.service, field)

    def of_service_option(self, service: str, field: str = "") -> Place:
        """The place of a field of a service's options; of the options for none."""
        file, index = self.services[service]
        own = (_SERVICE, index)
        inside = _inside(_NODE_FIELDS, field)
        return self._first(file, (*own, *_NODE, *inside), (*own, *_NODE), own)

    def of_rpc(self, service: str, rpc: str) -> Place:
        """The place of an rpc."""
        file, path = self._rpc(service, rpc)
        return self._first(file, path)

    def of_transition(self, service: str, rpc: str, index: int) -> Place:
        """The place of one of an rpc's transitions."""
        file, path = self._rpc(service, rpc)
        return self._first(file, (*path, *_TRANSITION, index), (*path, *_TRANSITION), path)

    def of_operation(self, service: str, rpc: str, field: str = "") -> Place:
        """The place of a field of an rpc's operation; of the operation for none."""
        file, path = self._rpc(service, rpc)
        inside = _inside(_OPERATION_FIELDS, field)
        return self._first(file, (*path, *_OPERATION, *inside), (*path, *_OPERATION), path)

    def _position(self, node: NodeRecord) -> tuple[str, int]:
        return self.services[node.service]

    def _rpc(self, service: str, rpc: str) -> tuple[str, _Path]:
        file, index = self.services[service]
        methods = self.schema.files[file].service[index].method
        own = next(i for i, method in enumerate(methods) if method.name == rpc)
        return file, (_SERVICE, index, _METHOD, own)

    def _first(self, file: str, *paths: _Path) -> Place:
        lines = self._lines.get(file)
        if lines is None:
            lines = self._lines[file] = _lines(self.schema.files[file])
        return Place(file, next((lines[path] for path in paths if path in lines), 0))


def full_name(file: FileDescriptorProto, service: ServiceDescriptorProto) -> str:
    """The full name of a service, e.g. shop.v1.OrderService."""
    return f"{file.package}.{service.name}" if file.package else service.name


def simple_name(service: str) -> str:
    """The name of a service as its file has it: OrderService for shop.v1.OrderService."""
    return service.rpartition(".")[2]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What a mistyped name was meant to be, as the end of a remedy; empty where nothing is near."""
    names = [each for each in known if each != name]
    common = _common_words([name, *names])
    by_rest = {each[common:]: each for each in names}
    near = get_close_matches(name[common:], by_rest, n=1)
    return f" (did you mean {by_rest[near[0]]}?)" if near else ""


def _common_words(names: Sequence[str]) -> int:
    """The length of what all names begin with, which says nothing about which two are near."""
    first, last = min(names), max(names)
    same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    prefix = "".join(character for character, _ in same)
    return max(prefix.rfind("."), prefix.rfind("_")) + 1


def _inside(numbers: Mapping[str, int], field: str) -> _Path:
    return (numbers[field],) if field else ()


def _lines(file: FileDescriptorProto) -> Mapping[_Path, int]:
    lines: dict[_Path, int] = {}
    for location in file.source_code_info.location:
        lines.setdefault(tuple(location.path), location.span[0] + 1)
    return lines
