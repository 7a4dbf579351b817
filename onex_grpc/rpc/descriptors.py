"""The descriptors that gRPC holds for a server, which it tells nobody."""

from __future__ import annotations

import os
import re
import socket
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
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


def sockets_of_loop(loop: asyncio.AbstractEventLoop) -> set[int]:
    """Return the sockets that an event loop waits for, such as that by which gRPC wakes it.

    On Linux only.
    """
    # uvloop, and asyncio's own; neither tells it publicly.
    backend = getattr(loop, "_get_backend_id", None)
    selector = getattr(loop, "_selector", None)
    waiting = backend() if backend is not None else selector and selector.fileno()
    for number, watched in _watches():
        if number == waiting:
            return {each for each in watched if _is_socket(each)}
    return set()


def _is_socket(descriptor: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _open() -> list[int]:
    for folder in _OPEN:
        with suppress(OSError):
            return [int(name) for name in os.listdir(folder)]
    return []


def _is_at(descriptor: int, place: int | str) -> bool:
    if not _is_socket(descriptor):
        return False
    try:
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
