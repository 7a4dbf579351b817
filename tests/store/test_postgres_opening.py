"""Who may open a PostgreSQL store, and what is found there."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from importlib import resources
from typing import TYPE_CHECKING

import psycopg
import pytest

from onex_grpc.errors import ConfigurationError, DatabaseConnectionError, OnexError, StoreInUseError
from onex_grpc.store import Committed, open_store
from onex_grpc.store.postgres import open_postgres
from onex_grpc.store.postgres.connection import schema_of
from tests.store.builders import KEY, change

if TYPE_CHECKING:
    from tests.store.server import PostgresServer


async def test_second_process_of_a_node_is_refused(postgres: PostgresServer, owner: str) -> None:
    store = await open_store(postgres.address, owner=owner)
    with pytest.raises(StoreInUseError, match=owner):
        await open_store(postgres.address, owner=owner)
    await store.close()
    await (await open_store(postgres.address, owner=owner)).close()


async def test_nodes_do_not_see_each_other(postgres: PostgresServer, owner: str) -> None:
    one = await open_store(postgres.address, owner=owner)
    other = await open_store(postgres.address, owner=owner + "-other")
    await one.commit(change(0))
    assert (await other.get_state(KEY)).version == 0
    await one.close()
    await other.close()


def test_long_names_stay_apart() -> None:
    names = {schema_of("reducer/" + "x" * 80 + end) for end in "ab"}
    assert len(names) == 2
    assert all(len(name.encode()) <= 63 for name in names)


async def test_many_that_open_at_once_migrate_once(postgres: PostgresServer, owner: str) -> None:
    stores = await asyncio.gather(
        *(open_postgres(postgres.address, schema=owner) for _ in range(8))
    )
    assert await stores[0].commit(change(0)) == Committed(1)
    await asyncio.gather(*(store.close() for store in stores))


async def test_many_that_open_an_older_store_migrate_it_once(
    postgres: PostgresServer, owner: str
) -> None:
    folder = resources.files("onex_grpc.store.postgres") / "migrations"
    first = (folder / "0001_store.sql").read_text(encoding="utf-8")
    with psycopg.connect(postgres.address) as connection:
        connection.execute(f'CREATE SCHEMA "{owner}"'.encode())
        connection.execute("SELECT set_config('search_path', %s, false)", (f'"{owner}"',))
        connection.execute(first.encode())
        connection.execute("CREATE TABLE onex_schema (number integer PRIMARY KEY)")
        connection.execute("INSERT INTO onex_schema VALUES (1)")
        connection.execute("INSERT INTO outcome VALUES ('a', '', 'reply', 1)")
        for number, state in enumerate((1, 2, 3, 5, 5, 6), start=1):
            connection.execute(
                "INSERT INTO intent (intent_id, state, priority, rank_us, timed_us, attempts, "
                "max_attempts, claim, worker, order_key, created_us, correlation_id, traceparent, "
                "payload, last_error) "
                "VALUES (%s, %s, 3, 0, 0, 0, 3, '', '', '', 1, '', '', '', '')",
                (str(number), state),
            )
    stores = await asyncio.gather(
        *(open_postgres(postgres.address, schema=owner) for _ in range(4))
    )
    stats = await stores[0].queue_stats()
    assert (stats.pending, stats.in_flight, stats.completed, stats.dead) == (2, 1, 2, 1)
    outcome = await stores[1].find_outcome("a")
    assert outcome is not None
    assert outcome.reply == b"reply"
    await asyncio.gather(*(store.close() for store in stores))


async def test_newer_schema_is_refused(postgres: PostgresServer, owner: str) -> None:
    await (await open_postgres(postgres.address, schema=owner)).close()
    with psycopg.connect(postgres.address) as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", (f'"{owner}"',))
        connection.execute("INSERT INTO onex_schema VALUES (999)")
    with pytest.raises(ConfigurationError, match="999"):
        await open_postgres(postgres.address, schema=owner)


async def test_schema_of_another_program_is_refused(postgres: PostgresServer, owner: str) -> None:
    with psycopg.connect(postgres.address) as connection:
        connection.execute(f'CREATE SCHEMA "{owner}" CREATE TABLE theirs (x int)'.encode())
    with pytest.raises(ConfigurationError, match="another program"):
        await open_postgres(postgres.address, schema=owner)


@pytest.mark.parametrize(
    "address", ["postgresql://u:hunter2@h/db?no_such_option=1", "postgresql://u:hunter2@h:port/db"]
)
async def test_address_that_cannot_be_is_refused_without_its_password(address: str) -> None:
    with pytest.raises(OnexError) as caught:
        await open_store(address)
    assert "hunter2" not in str(caught.value)


WITHOUT_PSYCOPG = """
import asyncio, sys
sys.modules["psycopg"] = None
from onex_grpc.errors import ConfigurationError
from onex_grpc.store import open_store
try:
    asyncio.run(open_store("postgresql://h/db"))
except ConfigurationError as error:
    print(error.message)
"""


def test_missing_driver_is_named() -> None:
    command = [sys.executable, "-c", WITHOUT_PSYCOPG]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    assert "onex-grpc[postgres]" in said


async def test_server_that_is_down_at_start_is_told(own_postgres: PostgresServer) -> None:
    own_postgres.halt()
    with pytest.raises(DatabaseConnectionError):
        await open_store(own_postgres.address)
