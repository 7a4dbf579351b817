"""What a statement reads in PostgreSQL, by a plan that was made while the tables were small."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, LiteralString

from onex_grpc.store import Guard, PurgePosition
from onex_grpc.store.postgres import open_postgres
from tests.store.builders import SECOND, WORKFLOW, change, intent, request, step
from tests.store.test_purging import FOR_EVER

if TYPE_CHECKING:
    from tests.store.rivals import Rival
    from tests.store.server import PostgresServer

_WAITING = 1000
_TIMES = 20
_OTHERS = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
_READ = "SELECT pg_stat_get_tuples_returned(%s::regclass)"


def number(rival: Rival, statement: LiteralString, *bindings: str) -> int:
    row = rival.execute(statement, bindings).fetchone() or (0,)
    # Within one transaction it would stay the same.
    rival.commit()
    return int(str(row[0]))


async def entries_read(rival: Rival, index: str) -> int:
    """Entries of an index, or rows of a table read from end to end, that were read by all who have
    left.
    """
    async with asyncio.timeout(10):
        while True:
            if not number(rival, _OTHERS):
                return number(rival, _READ, index)
            await asyncio.sleep(0.01)


async def test_claim_does_not_read_what_waits_on_other_routes(
    postgres: PostgresServer, owner: str, rival: Rival
) -> None:
    store = await open_postgres(postgres.address, schema=owner)
    assert await store.claim_intents("effect/a", 1, SECOND, ("a",)) == []
    unserved = tuple(intent(f"u{n}", route="unserved") for n in range(_WAITING))
    await store.commit(change(None, key="orders/o", intents=unserved))
    for _ in range(_TIMES):
        assert await store.claim_intents("effect/a", 1, SECOND, ("a",)) == []
    await store.close()
    assert await entries_read(rival, "intent_ready") < _WAITING


async def test_completion_does_not_read_what_is_in_flight(
    postgres: PostgresServer, owner: str, rival: Rival
) -> None:
    store = await open_postgres(postgres.address, schema=owner)
    assert await store.complete_intents(["1.none"]) == [False]
    others = tuple(intent(f"o{n}", route="others") for n in range(_WAITING))
    await store.commit(change(None, key="orders/o", intents=others))
    held = await store.claim_intents("effect/b", _WAITING, 60 * SECOND, ("others",))
    for claimed in held[:_TIMES]:
        assert await store.complete_intents([claimed.claim_token]) == [True]
    await store.close()
    assert await entries_read(rival, "intent_timed") < _WAITING


async def test_pending_steps_are_found_among_those_of_other_workflows(
    postgres: PostgresServer, owner: str, rival: Rival
) -> None:
    store = await open_postgres(postgres.address, schema=owner)
    assert list(await store.list_pending(WORKFLOW)) == []
    lease = await store.acquire_lease(request())
    others = [step(f"o{n}") for n in range(_WAITING)]
    await store.record_pending(Guard("other", "lease", 5), others)
    for n in range(_TIMES):
        await store.record_pending(lease.guard, [step(f"a{n % 3}")], [f"a{(n + 1) % 3}"])
        assert len(await store.list_pending(WORKFLOW)) <= 2
    await store.close()
    by_workflow = await entries_read(rival, "pending_steps_workflow_id_action_id_key")
    assert 0 < by_workflow < _WAITING
    assert await entries_read(rival, "pending_steps") < _WAITING


async def test_a_portion_of_a_sweep_reads_as_many_pending_steps_as_it_looks_at(
    postgres: PostgresServer, owner: str, rival: Rival
) -> None:
    store = await open_postgres(postgres.address, schema=owner)
    await store.purge(FOR_EVER, PurgePosition(), 10)
    lease = await store.acquire_lease(request())
    await store.commit(change(0, guard=lease.guard, opened=True))
    await store.record_pending(lease.guard, [step(f"a{n}") for n in range(_WAITING)])
    position = PurgePosition()
    for _ in range(_TIMES):
        position = (await store.purge(FOR_EVER, position, 10)).position
    await store.close()
    assert await entries_read(rival, "pending_steps_pkey") <= 2 * 10 * _TIMES
    assert await entries_read(rival, "pending_steps") < _WAITING
