"""The descriptors that gRPC holds for a server, which it tells nobody."""

from __future__ import annotations

import os
import re
import socket
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPEN: Final = ("/proc/self/fd", "/dev/fd")
_DETAILS: Final = "/proc/self/fdinfo"
_WATCHED: Final = re.compile(r"^tfd: *(\d+)", re.MULTILINE)


def descriptors_of_server(place: int | str) -> set[int]:
    """The listeners and connections of the server at a port, or at the path of a Unix socket.

    On Linux also what gRPC waits for together with them, the process's connections to other
    servers among it, and what it waits with.
    """
    served = {each for each in _open() if _is_at(each, place)}
    found = set(served)
    for waiting, watched in _watches():
        if not served.isdisjoint(watched):
            found |= {waiting, *watched}
    return found


def _open() -> list[int]:
    for folder in _OPEN:
        with suppress(OSError):
            return [int(name) for name in os.listdir(folder)]
    return []


def _is_at(descriptor: int, place: int | str) -> bool:
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
        duplicate = socket.socket(fileno=os.dup(descriptor))
    except OSError:
        return False
    with duplicate:
        if duplicate.type != socket.SOCK_STREAM:
            return False
        if duplicate.family == socket.AF_UNIX:
            return bool(duplicate.getsockname() == place)
        if duplicate.family in (socket.AF_INET, socket.AF_INET6):
            return bool(duplicate.getsockname()[1] == place)
        return False


def _watches() -> Iterator[tuple[int, set[int]]]:
    """Each epoll set of the process with what it watches."""
    with suppress(OSError):
        for name in os.listdir(_DETAILS):
            with suppress(OSError), open(f"{_DETAILS}/{name}", encoding="ascii") as details:
                if watched := {int(number) for number in _WATCHED.findall(details.read())}:
                    yield int(name), watched
