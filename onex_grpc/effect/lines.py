"""Finds line n of a file without reading all before it each time."""

from __future__ import annotations

import os
from array import array
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from onex_grpc.errors import FileMissingError

_CHUNK: Final = 1 << 20
_FILES: Final = 16
_EVERY: Final = 64


@dataclass(frozen=True, slots=True)
class _Index:
    """Where every 64th line begins, for one content of a file."""

    identity: tuple[int, int, int, int]
    starts: array[int]
    lines: int


class LineIndex:
    """Line positions of the files that were read last; a file that changed is read anew.

    Not for use from several threads at once.
    """

    def __init__(self) -> None:
        self._indexes: OrderedDict[str, _Index] = OrderedDict()

    def read(self, descriptor: int, path: str, line: int, max_bytes: int) -> bytes:
        """A line without its line break, counted from 1.

        Raises:
            FileMissingError: when the file has fewer lines.
        """
        index = self._index(descriptor, path)
        if line > index.lines:
            raise FileMissingError(
                f"{path!r} has {index.lines} lines, no line {line}",
                context={"path": path, "line": str(line)},
            )
        skip = (line - 1) % _EVERY
        with os.fdopen(os.dup(descriptor), "rb") as file:
            file.seek(index.starts[(line - 1) // _EVERY])
            for _ in range(skip):
                file.readline()
            return file.readline(max_bytes + 1).removesuffix(b"\n").removesuffix(b"\r")

    def _index(self, descriptor: int, path: str) -> _Index:
        status = os.fstat(descriptor)
        identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        index = self._indexes.get(path)
        if index is None or index.identity != identity:
            index = _build(descriptor, identity)
            self._indexes[path] = index
            if len(self._indexes) > _FILES:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(path)
        return index


def _build(descriptor: int, identity: tuple[int, int, int, int]) -> _Index:
    starts: array[int] = array("q")
    line = position = 0
    with os.fdopen(os.dup(descriptor), "rb", buffering=_CHUNK) as file:
        file.seek(0)
        for text in file:
            if line % _EVERY == 0:
                starts.append(position)
            position += len(text)
            line += 1
    return _Index(identity, starts, line)
