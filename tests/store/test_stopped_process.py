"""A process that is stopped within a transaction: others get its locks, and it learns of it."""

from __future__ import annotations

import asyncio
import sys
import time
from signal import SIGCONT, SIGSTOP
from typing import TYPE_CHECKING

import psycopg

from onex_grpc.store import Committed, LeaseGrant, open_store
from onex_grpc.store.postgres.connection import schema_of
from tests.store.builders import KEY, WORKFLOW, change, request
from tests.store.rivals import blocked

if TYPE_CHECKING:
    from tests.store.server import PostgresServer

HOLDER = """
import asyncio, sys
from onex_grpc.store import open_store
from tests.store.builders import change, request

async def main():
    store = await open_store(sys.argv[1], owner=sys.argv[2], instance="stopped")
    lease = await store.acquire_lease(request())
    print("holds", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for _ in range(2):
        try:
            print(await store.commit(change(0, b"late", guard=lease.guard)), flush=True)
        except Exception as error:
            print(type(error).__name__, flush=True)
    print(await store.commit(change(1, b"later")), flush=True)
    await store.close()

asyncio.run(main())
"""


async def test_locks_of_a_stopped_process_are_taken_over(
    postgres: PostgresServer, owner: str
) -> None:
    pipe = asyncio.subprocess.PIPE
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLDER, postgres.address, owner), stdin=pipe, stdout=pipe
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"holds\n"
    other = await open_store(postgres.address, owner=owner, instance="other")
    with psycopg.connect(postgres.address) as rival:
        rival.execute("SELECT set_config('search_path', %s, false)", (f'"{schema_of(owner)}"',))
        rival.execute("SELECT * FROM workflow FOR UPDATE")
        holder.stdin.write(b"\n")
        await blocked(rival)
        # Its statements are on their way; what they lock is granted while it stands still.
        holder.send_signal(SIGSTOP)
        rival.commit()
        await _until_idle_in_transaction(rival)

    stopped = time.monotonic()
    try:
        lease = await other.steal_lease(request("other"))
        assert isinstance(lease, LeaseGrant)
        assert await other.commit(change(0, b"taken over", guard=lease.guard)) == Committed(1)
        assert time.monotonic() - stopped < 5
    finally:
        holder.send_signal(SIGCONT)

    said, _ = await asyncio.wait_for(holder.communicate(), 20)
    # Its session was gone when it went on to commit: it cannot tell, and is refused then.
    assert said.decode().splitlines() == [
        *("DatabaseConnectionError", "StaleFenceError", str(Committed(2)))
    ]
    assert [entry.state for entry in await other.list_history(KEY, 0, 9)] == [
        *(b"taken over", b"later")
    ]
    assert await other.known_fence(WORKFLOW) == lease.guard
    await other.close()


async def _until_idle_in_transaction(rival: psycopg.Connection[tuple[object, ...]]) -> None:
    question = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE state = 'idle in transaction' AND application_name LIKE '% stopped'"
    )
    async with asyncio.timeout(10):
        while rival.execute(question).fetchone() != (1,):
            rival.commit()
            await asyncio.sleep(0.005)
