"""Reads beside the writer: what a commit was acknowledged for, every later read sees."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import apsw

from onex_grpc.errors import OnexError, UnavailableError
from onex_grpc.store.sqlite.connection import open_reader
from onex_grpc.store.sqlite.failures import translate

if TYPE_CHECKING:
    from pathlib import Path

R = TypeVar("R")

Read = Callable[[apsw.Connection], R]


class Reader:
    """Two read-only connections: one for single rows, one for lists.

    A single row is read where the caller runs, in about 10 us from the page cache; a hop to another
    thread costs ten
    times that. Lists may be long and have a thread of their own.
    """

    def __init__(self, path: Path) -> None:
        """Opens both."""
        self._row = open_reader(path)
        self._list = open_reader(path)
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="onex-store-read")

    def row(self, read: Read[R]) -> R:
        """Runs a read of single rows by key, at once."""
        with self._lock:
            try:
                return read(self._row)
            except apsw.Error as error:
                raise _failure(error) from error

    async def list(self, read: Read[R]) -> R:
        """Runs a read of many rows."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, read, self._list)
        except apsw.Error as error:
            raise _failure(error) from error
        except RuntimeError as error:
            raise UnavailableError("the store is closed; the process is about to end") from error

    def close(self) -> None:
        """Ends the reads that run, then closes both connections."""
        self._thread.shutdown(wait=True)
        with self._lock:
            self._row.close()
            self._list.close()


def _failure(error: apsw.Error) -> OnexError:
    if isinstance(error, apsw.ConnectionClosedError):
        return UnavailableError("the store is closed; the process is about to end")
    return translate(error)
