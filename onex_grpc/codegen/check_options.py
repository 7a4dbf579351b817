"""The check of options that have no effect where they stand, or that this version cannot read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.unknown_fields import UnknownFieldSet

from onex.v1 import options_pb2
from onex_grpc.codegen.check_scope import simple_name
from onex_grpc.codegen.fault import Fault
from onex_grpc.codegen.schema import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor_pb2 import MethodDescriptorProto, ServiceDescriptorProto
    from google.protobuf.message import Message

    from onex_grpc.codegen.check_scope import Scope
    from onex_grpc.codegen.schema import Schema

_OPTIONS: Final = "onex/v1/options.proto"
_NEWER: Final = "generate with the onex-grpc whose options.proto the contract is written against"


def check_options(scope: Scope) -> Iterator[Fault]:
    """That each option has a node, each file that imports options has one, and all are readable."""
    newer, found = _newer_extensions(scope.schema), list[Fault]()
    for service, raw in scope.raw_services():
        if service not in scope.schema.nodes:
            found.extend(_without_node(scope, service, raw))
        found.extend(_unreadable(scope, service, raw, newer))
    yield from found
    if scope.generated:
        yield from _imported_for_nothing(scope)
    elif not found and _is_about_services(scope):
        yield _nothing(scope.schema)


def _imported_for_nothing(scope: Scope) -> Iterator[Fault]:
    with_services = {scope.file_of(service) for service, _ in scope.raw_services()}
    for file in scope.schema.to_generate:
        imported = _OPTIONS in scope.schema.files[file].dependency
        if imported and file in with_services and file not in scope.generated_files:
            yield Fault(
                Place(file),
                f"imports {_OPTIONS}, but no service of it is a node",
                "give a service the option (onex.v1.node), or remove the import",
            )


def _is_about_services(scope: Scope) -> bool:
    # Others run the plugin once a folder, and a folder may have messages alone.
    files = (scope.schema.files[name] for name in scope.schema.to_generate)
    return any(file.service or _OPTIONS in file.dependency for file in files)


def _nothing(schema: Schema) -> Fault:
    first, count = schema.to_generate[0], len(schema.to_generate)
    files = "1 other file" if count == 2 else f"{count - 1} other files"
    others = f" and of {files}" if count > 1 else ""
    return Fault(
        Place(first),
        f"no service of it{others} is a node, so there is nothing to generate",
        f'import "{_OPTIONS}" and give a service the option (onex.v1.node)',
    )


def _without_node(scope: Scope, service: str, raw: ServiceDescriptorProto) -> Iterator[Fault]:
    what = "{0}.{1} has the option (onex.v1.{2}), but {0} is no node"
    remedy = f"give {raw.name} the option (onex.v1.node), or remove this one"
    for rpc in raw.method:
        if rpc.options.Extensions[options_pb2.transition]:
            place = scope.of_transition(service, rpc.name, 0)
            yield Fault(place, what.format(raw.name, rpc.name, "transition"), remedy)
        if rpc.options.HasExtension(options_pb2.operation):
            place = scope.of_operation(service, rpc.name)
            yield Fault(place, what.format(raw.name, rpc.name, "operation"), remedy)


def _unreadable(
    scope: Scope, service: str, raw: ServiceDescriptorProto, newer: dict[int, str]
) -> Iterator[Fault]:
    name = simple_name(service)
    for path in _unknown(raw.options.Extensions[options_pb2.node]):
        place = scope.of_service_option(service)
        yield Fault(place, _what(name, f"field {path} of (onex.v1.node)"), _NEWER)
    for number in sorted(_numbers(raw.options) & newer.keys()):
        place = scope.of_service(service)
        yield Fault(place, _what(name, f"option ({newer[number]})"), _NEWER)
    for rpc in raw.method:
        if rpc.HasField("options"):
            yield from _unreadable_rpc(scope, service, rpc, newer)


def _unreadable_rpc(
    scope: Scope, service: str, rpc: MethodDescriptorProto, newer: dict[int, str]
) -> Iterator[Fault]:
    name = f"{simple_name(service)}.{rpc.name}"
    for index, transition in enumerate(rpc.options.Extensions[options_pb2.transition]):
        for path in _unknown(transition):
            place = scope.of_transition(service, rpc.name, index)
            yield Fault(place, _what(name, f"field {path} of (onex.v1.transition)"), _NEWER)
    for path in _unknown(rpc.options.Extensions[options_pb2.operation]):
        place = scope.of_operation(service, rpc.name)
        yield Fault(place, _what(name, f"field {path} of (onex.v1.operation)"), _NEWER)
    for number in sorted(_numbers(rpc.options) & newer.keys()):
        place = scope.of_rpc(service, rpc.name)
        yield Fault(place, _what(name, f"option ({newer[number]})"), _NEWER)


def _what(name: str, unknown: str) -> str:
    return f"{name} has the {unknown}, which this version does not know"


def _unknown(message: Message) -> Iterator[str]:
    """Numbers of fields that an older message lacks, as a path where they stand further inside."""
    for number in sorted(_numbers(message)):
        yield str(number)
    for field, value in message.ListFields():
        if field.message_type is not None and not field.is_repeated:
            yield from (f"{field.name}.{inner}" for inner in _unknown(value))


def _numbers(message: Message) -> set[int]:
    unknown = UnknownFieldSet(message)
    return {unknown[index].field_number for index in range(len(unknown))}


def _newer_extensions(schema: Schema) -> dict[int, str]:
    """The options that the user's options.proto has beside ours, by number."""
    file = schema.files.get(_OPTIONS)
    if file is None:
        return {}
    ours = set(options_pb2.DESCRIPTOR.extensions_by_name)
    return {
        each.number: f"{file.package}.{each.name}"
        for each in file.extension
        if each.name not in ours
    }
