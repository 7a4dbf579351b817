"""Random bytes for ids and claims, fetched from the system many at a time.

Each fetch lets go of the interpreter's lock; on a thread that shares it with a busy event loop the
wait to have it back costs more than all else that an operation does.
"""

from __future__ import annotations

import os
import threading
from typing import Final

_FETCHED: Final = 4096


class _Reserve:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes = b""
        self._used = 0

    def take(self, count: int) -> bytes:
        with self._lock:
            end = self._used + count
            if end > len(self._bytes):
                self._bytes, end = os.urandom(max(_FETCHED, count)), count
            self._used = end
            return self._bytes[end - count : end]


_reserve = _Reserve()


def random_bytes(count: int) -> bytes:
    """So many bytes that nobody can foresee and that are given out once."""
    return _reserve.take(count)


def random_hex(count: int) -> str:
    """So many random bytes as hexadecimal digits."""
    return _reserve.take(count).hex()


def _renew() -> None:
    global _reserve
    _reserve = _Reserve()


# A forked process would give out the same ones.
os.register_at_fork(after_in_child=_renew)
