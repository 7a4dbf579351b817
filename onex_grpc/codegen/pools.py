"""Descriptor pools of the protos of one run: of all of them, or of what some messages need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from onex_grpc.codegen.schema import MessageType, Schema

# CEL gives these messages a meaning of its own, and expects each of their files to be whole.
_WELL_KNOWN: Final = "google/protobuf/"


def pool_of(files: Iterable[descriptor_pb2.FileDescriptorProto]) -> DescriptorPool:
    """A pool of these files, in which imports come first."""
    pool = DescriptorPool()
    for file in files:
        bare = descriptor_pb2.FileDescriptorProto()
        bare.CopyFrom(file)
        # Comments are most of a file's bytes, and no code can see them.
        bare.ClearField("source_code_info")
        pool.Add(bare)
    return pool


def small_pool(schema: Schema, *messages: MessageType) -> DescriptorPool:
    """A pool of these messages and those of their fields, in files that have nothing else."""
    needed: dict[str, dict[str, None]] = {}
    waiting = [message.full_name for message in messages]
    while waiting:
        file, outermost = _outermost(schema, waiting.pop())
        if file.startswith(_WELL_KNOWN):
            _need_whole(schema, file, needed)
        elif outermost not in needed.setdefault(file, {}):
            needed[file][outermost] = None
            if outermost in schema.messages:
                waiting.extend(_types_of(schema.messages[outermost].proto))
    # The run has the imported file before the one that imports it.
    order = [file for file in schema.files if file in needed]
    return pool_of(
        schema.files[file]
        if file.startswith(_WELL_KNOWN)
        else _cut(schema, schema.files[file], needed[file], order[:index])
        for index, file in enumerate(order)
    )


def _outermost(schema: Schema, name: str) -> tuple[str, str]:
    """The file and the full name of the message that a type stands in, or of the type itself."""
    file = (schema.messages.get(name) or schema.enums[name]).file
    prefix = _prefix(schema.files[file])
    return file, prefix + name.removeprefix(prefix).partition(".")[0]


def _need_whole(schema: Schema, file: str, needed: dict[str, dict[str, None]]) -> None:
    if file not in needed:
        needed[file] = {}
        for imported in schema.files[file].dependency:
            _need_whole(schema, imported, needed)


def _types_of(proto: descriptor_pb2.DescriptorProto) -> Iterator[str]:
    for field in proto.field:
        if field.type_name:
            yield field.type_name.removeprefix(".")
    for nested in proto.nested_type:
        yield from _types_of(nested)


def _cut(
    schema: Schema,
    file: descriptor_pb2.FileDescriptorProto,
    names: Iterable[str],
    imports: Sequence[str],
) -> descriptor_pb2.FileDescriptorProto:
    wanted = set(names)
    cut = descriptor_pb2.FileDescriptorProto(
        name=file.name,
        package=file.package,
        options=file.options,
        dependency=imports,
        message_type=[schema.messages[name].proto for name in names if name in schema.messages],
        enum_type=[enum for enum in file.enum_type if _prefix(file) + enum.name in wanted],
    )
    # An empty syntax is not the same as none.
    if file.HasField("syntax"):
        cut.syntax = file.syntax
    if file.HasField("edition"):
        cut.edition = file.edition
    return cut


def _prefix(file: descriptor_pb2.FileDescriptorProto) -> str:
    return f"{file.package}." if file.package else ""
