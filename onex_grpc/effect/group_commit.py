"""One thread that owns a SQLite connection and commits what has gathered in one transaction.

A commit with FULL durability costs a flush of the disk: under load many writers share it, and a
lone one does not wait for others.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import TYPE_CHECKING, TypeVar, cast

import apsw

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_MAX_BATCH = 256


class _Job:
    """One piece of work and the caller that waits for it."""

    __slots__ = ("error", "future", "result", "work")

    def __init__(
        self, work: Callable[[apsw.Connection], object], future: asyncio.Future[object]
    ) -> None:
        self.work = work
        self.future = future
        self.result: object = None
        self.error: Exception | None = None

    def settle(self) -> None:
        """Tells the caller, who may have left."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class GroupCommit:
    """Runs work against one connection, each piece atomic, many pieces to a transaction.

    A piece that fails is rolled back alone. A piece whose caller left before its turn is not run.
    """

    def __init__(self, connect: Callable[[], apsw.Connection], name: str) -> None:
        self._connect = connect
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def open(self) -> None:
        """Connects and starts the thread; raises what `connect` raises."""
        connection = await asyncio.to_thread(self._connect)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(
            target=self._run, args=(connection, self._loop), name=self._name, daemon=True
        )
        self._thread.start()

    async def run(self, work: Callable[[apsw.Connection], T]) -> T:
        """The work's result, once its transaction is durable.

        Raises:
            apsw.Error: when the work or the commit failed; nothing of it remains then.
        """
        if self._loop is None or self._thread is None:
            raise RuntimeError(f"{self._name} is not open")
        future: asyncio.Future[object] = self._loop.create_future()
        self._jobs.put(_Job(work, future))
        return cast("T", await future)

    async def close(self) -> None:
        """Finishes what was submitted and closes the connection."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)

    def _run(self, connection: apsw.Connection, loop: asyncio.AbstractEventLoop) -> None:
        stopping = False
        while not stopping:
            jobs, stopping = self._gather()
            if jobs:
                _commit_together(connection, jobs)
                _settle(jobs, loop)
        connection.close()

    def _gather(self) -> tuple[list[_Job], bool]:
        jobs: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == _MAX_BATCH:
                return jobs, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True


def _settle(jobs: list[_Job], loop: asyncio.AbstractEventLoop) -> None:
    def settle_all() -> None:
        for job in jobs:
            job.settle()

    # A closed loop has nobody who waits; the work is durable all the same.
    if not loop.is_closed():
        loop.call_soon_threadsafe(settle_all)


def _commit_together(connection: apsw.Connection, jobs: list[_Job]) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job in jobs:
            if not job.future.cancelled():
                _run_alone(connection, job)
        connection.execute("COMMIT")
    except apsw.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        for job in jobs:
            job.error = job.error or error


def _run_alone(connection: apsw.Connection, job: _Job) -> None:
    connection.execute("SAVEPOINT job")
    try:
        job.result = job.work(connection)
    except Exception as error:
        job.error = error
        # A full disk or an I/O error has ended the whole transaction: the commit fails for all.
        if connection.in_transaction:
            connection.execute("ROLLBACK TO job")
    if connection.in_transaction:
        connection.execute("RELEASE job")
