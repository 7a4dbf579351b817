"""Comments and line numbers of a proto."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.codegen.schema import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf import descriptor_pb2


class Comments:
    """What stands above the elements of one file, and on which lines they are."""

    def __init__(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        self._file = file.name
        self._locations = {
            tuple(location.path): location for location in file.source_code_info.location
        }

    def text(self, path: Sequence[int]) -> str:
        """The comment before an element, or behind it; empty for none.

        Args:
            path: of the element in the file's descriptor.
        """
        location = self._locations.get(tuple(path))
        if location is None:
            return ""
        return _tidy(location.leading_comments) or _tidy(location.trailing_comments)

    def place(self, path: Sequence[int]) -> Place:
        """Where an element starts."""
        location = self._locations.get(tuple(path))
        return Place(self._file, 0 if location is None else location.span[0] + 1)


def _tidy(comment: str | bytes) -> str:
    # What is not UTF-8 comes as bytes; the linter refuses it.
    text = comment if isinstance(comment, str) else comment.decode(errors="replace")
    lines = [line.rstrip() for line in text.splitlines()]
    shared = min((len(line) - len(line.lstrip()) for line in lines if line), default=0)
    return "\n".join(line[shared:] for line in lines).strip("\n")
