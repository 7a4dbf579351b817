"""Fingerprints of contracts: `version:12hex`, the same from protoc's request and at run time.

Two processes whose contracts have one fingerprint understand each other. It covers the service's
options and rpcs and every message and enum that they reach, as the wire and the code see them; not
comments, places of files, JSON names, or what others have to say in their options.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final

from google.protobuf import descriptor_pb2

from onex.v1 import options_pb2
from onex_grpc.contract.field_form import Form, enum_form, field_form, reached
from onex_grpc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
    from google.protobuf.message import Message

_DIGITS: Final = 12


class Fingerprints:
    """The fingerprints of the services in some files.

    Args:
        files: with everything that they import; read, never changed.
    """

    def __init__(self, files: Iterable[descriptor_pb2.FileDescriptorProto]) -> None:
        self._services: dict[str, descriptor_pb2.ServiceDescriptorProto] = {}
        self._forms: dict[str, Form] = {}
        self._reached: dict[str, tuple[str, ...]] = {}
        for file in files:
            package = f"{file.package}." if file.package else ""
            for service in file.service:
                self._services[package + service.name] = service
            self._add_enums(file, package, file.enum_type)
            for message in file.message_type:
                self._add(file, package, message)

    def of(self, service: str) -> str:
        """The fingerprint of a service, by its full name without a leading dot.

        Raises:
            ConfigurationError: for an unknown service, one without (onex.v1.node), a type that no
                file has.
        """
        proto = self._services.get(service)
        if proto is None:
            raise ConfigurationError(f"{service} is in none of the files; add the one that has it")
        options = descriptor_pb2.ServiceOptions.FromString(proto.options.SerializeToString())
        if not options.HasExtension(options_pb2.node):
            raise ConfigurationError(f"{service} has no option (onex.v1.node), so it is no node")
        node = options.Extensions[options_pb2.node]
        roots = {_plain(name) for rpc in proto.method for name in (rpc.input_type, rpc.output_type)}
        if node.state:
            roots.add(_plain(node.state))
        form: Form = [
            service,
            _bytes_of(_sorted(node)),
            sorted((_rpc_form(rpc) for rpc in proto.method), key=json.dumps),
            [[name, self._forms[name]] for name in sorted(self._reach(service, roots))],
        ]
        text = json.dumps(form, separators=(",", ":"), ensure_ascii=True)
        return f"{node.version}:{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"

    def _reach(self, service: str, roots: Iterable[str]) -> set[str]:
        seen: set[str] = set()
        waiting = list(roots)
        while waiting:
            name = waiting.pop()
            if name in seen:
                continue
            if name not in self._forms:
                raise ConfigurationError(
                    f"{service} needs {name}, which is in none of the files; import the one that"
                    " has it"
                )
            seen.add(name)
            waiting.extend(self._reached[name])
        return seen

    def _add(
        self,
        file: descriptor_pb2.FileDescriptorProto,
        prefix: str,
        message: descriptor_pb2.DescriptorProto,
    ) -> None:
        name = prefix + message.name
        fields = sorted(message.field, key=lambda field: field.number)
        self._forms[name] = ["message", [field_form(file, message, field) for field in fields]]
        self._reached[name] = tuple(reached(message))
        self._add_enums(file, f"{name}.", message.enum_type)
        for nested in message.nested_type:
            self._add(file, f"{name}.", nested)

    def _add_enums(
        self,
        file: descriptor_pb2.FileDescriptorProto,
        prefix: str,
        enums: Iterable[descriptor_pb2.EnumDescriptorProto],
    ) -> None:
        for enum in enums:
            self._forms[prefix + enum.name] = ["enum", enum_form(file, enum)]
            self._reached[prefix + enum.name] = ()


def fingerprint_of(service: ServiceDescriptor) -> str:
    """The fingerprint of a service whose generated module is imported; raises as Fingerprints.

    What it was made of is what protoc wrote into that module.
    """
    return Fingerprints(_files(service.file, set())).of(service.full_name)


def _files(file: FileDescriptor, seen: set[str]) -> Iterator[descriptor_pb2.FileDescriptorProto]:
    if file.name in seen:
        return
    seen.add(file.name)
    yield descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb)
    for needed in file.dependencies:
        yield from _files(needed, seen)


def _rpc_form(rpc: descriptor_pb2.MethodDescriptorProto) -> Form:
    # Read again: options parsed before options_pb2 was imported are unknown bytes.
    options = descriptor_pb2.MethodOptions.FromString(rpc.options.SerializeToString())
    transitions = [_bytes_of(each) for each in options.Extensions[options_pb2.transition]]
    operation = _bytes_of(options.Extensions[options_pb2.operation])
    return [
        rpc.name,
        _plain(rpc.input_type),
        _plain(rpc.output_type),
        rpc.client_streaming,
        rpc.server_streaming,
        list(transitions),
        operation,
    ]


def _sorted(node: options_pb2.NodeOptions) -> options_pb2.NodeOptions:
    same = options_pb2.NodeOptions()
    same.CopyFrom(node)
    same.depends_on[:] = sorted(node.depends_on)
    same.emits[:] = sorted(node.emits)
    return same


def _bytes_of(options: Message) -> str:
    return options.SerializeToString(deterministic=True).hex()


def _plain(name: str) -> str:
    return name.removeprefix(".")
