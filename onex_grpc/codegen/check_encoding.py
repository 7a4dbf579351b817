"""The check that comments are UTF-8, which protoc leaves to the plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.codegen.fault import Fault
from onex_grpc.codegen.schema import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    from onex_grpc.codegen.check_scope import Scope


def check_encoding(scope: Scope) -> Iterator[Fault]:
    """That each file is UTF-8: its other texts are, or protoc would have refused them."""
    for name in scope.schema.to_generate:
        line = _broken_line(scope.schema.files[name])
        if line:
            yield Fault(
                Place(name, line), "has a comment that is not UTF-8", "save the file as UTF-8"
            )


def _broken_line(file: FileDescriptorProto) -> int:
    """The line of the first element with such a comment; 0 for none."""
    for location in file.source_code_info.location:
        texts: tuple[object, ...] = (
            location.leading_comments,
            location.trailing_comments,
            *location.leading_detached_comments,
        )
        # What is no text stays as it came.
        if any(isinstance(text, bytes) for text in texts):
            return location.span[0] + 1
    return 0
