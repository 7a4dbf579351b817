"""Statements sent together: answers, failures, and a connection that goes away."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest

from onex_grpc.store.postgres.connection import Connector
from onex_grpc.store.postgres.exchange import Exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.store.server import PostgresServer

LARGE = bytes(100_000)


@pytest.fixture
def exchange(postgres: PostgresServer) -> Iterator[Exchange]:
    """A connection that writes, to a store without tables."""
    connector = Connector.parse(postgres.address, "public", owner="")
    exchange = Exchange(connector.connect_writer())
    yield exchange
    exchange.close()


@pytest.fixture
def onlooker(postgres: PostgresServer) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """Another session."""
    with psycopg.connect(postgres.address, autocommit=True) as connection:
        yield connection


def test_answers_are_those_of_their_statements(exchange: Exchange) -> None:
    exchange.execute("BEGIN")
    answers = [exchange.execute("SELECT %b::bigint, %s::text", (n, str(n))) for n in range(5)]
    nothing = exchange.execute("SELECT 1 WHERE false")
    exchange.execute("COMMIT")

    assert [answer.fetchall() for answer in answers] == [[(n, str(n))] for n in range(5)]
    assert nothing.fetchone() is None


def test_a_statement_is_prepared_for_each_types_of_values(exchange: Exchange) -> None:
    exchange.execute("BEGIN")
    answers = [
        exchange.execute("SELECT pg_typeof(%s)::text", (value,)) for value in (1, "1", b"1", True)
    ]
    exchange.execute("COMMIT")

    types = [answer.fetchone() for answer in answers]
    assert types == [("bigint",), ("text",), ("bytea",), ("boolean",)]


def test_the_first_failure_is_raised_and_what_follows_it_is_not_run(exchange: Exchange) -> None:
    exchange.execute("BEGIN")
    exchange.execute("CREATE TEMPORARY TABLE written (number bigint PRIMARY KEY) ON COMMIT DROP")
    exchange.wait()
    exchange.execute("INSERT INTO written VALUES (%s), (%s)", (1, 1))
    exchange.execute("SELECT 1 / %s", (0,))
    exchange.execute("COMMIT")

    with pytest.raises(psycopg.errors.UniqueViolation):
        exchange.wait()
    exchange.roll_back()

    # Neither the table nor what was to be prepared after the failure is there.
    with pytest.raises(psycopg.errors.UndefinedTable):
        exchange.execute("SELECT * FROM written").fetchall()
    exchange.roll_back()
    with pytest.raises(psycopg.errors.DivisionByZero):
        exchange.execute("SELECT 1 / %s", (0,)).fetchall()
    exchange.roll_back()
    assert exchange.execute("SELECT 1 / %s", (1,)).fetchone() == (1,)


def test_a_commit_that_finds_the_transaction_failed_is_no_success(exchange: Exchange) -> None:
    """The server answers ROLLBACK then, and that is no error for it."""
    exchange.execute("BEGIN")
    exchange.execute("SELECT 1 / %s", (0,))
    with pytest.raises(psycopg.errors.DivisionByZero):
        exchange.wait()

    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        exchange.commit()


def test_a_rollback_takes_back_what_was_noted_and_not_sent(
    exchange: Exchange, onlooker: psycopg.Connection[tuple[object, ...]]
) -> None:
    onlooker.execute("CREATE TABLE noted (number bigint)")
    exchange.execute("BEGIN")
    exchange.execute("INSERT INTO noted VALUES (%s)", (1,))

    exchange.roll_back()

    assert onlooker.execute("SELECT count(*) FROM noted").fetchone() == (0,)
    assert exchange.execute("SELECT count(*) FROM noted").fetchone() == (0,)


def test_a_process_that_is_stopped_in_a_transaction_counts_as_idle(
    exchange: Exchange, onlooker: psycopg.Connection[tuple[object, ...]]
) -> None:
    """So that the server ends it after idle_in_transaction_session_timeout, and frees its locks."""
    exchange.execute("BEGIN")
    exchange.execute("SELECT 1").fetchall()

    state = onlooker.execute(
        "SELECT state FROM pg_stat_activity WHERE pid = %s", (exchange.backend_pid,)
    ).fetchone()

    assert state == ("idle in transaction",)


def test_a_process_that_is_stopped_while_it_sends_loses_its_locks(
    exchange: Exchange, onlooker: psycopg.Connection[tuple[object, ...]]
) -> None:
    """The server waits for the rest of what was sent, and does not take the session for idle."""
    (version,) = onlooker.execute("SHOW server_version_num").fetchone() or (0,)
    if int(str(version)) < 170_000:
        pytest.skip("a server that cannot limit transactions")
    assert exchange.execute("SHOW transaction_timeout").fetchone() == ("65s",)
    exchange.execute("SET transaction_timeout = 300")
    exchange.wait()
    exchange.execute("BEGIN")
    exchange.execute("SELECT pg_advisory_xact_lock(%s)", (62,)).fetchall()
    exchange.execute("SELECT %s::bytea", (LARGE,))
    assert onlooker.execute("SELECT pg_try_advisory_lock(62)").fetchone() == (False,)

    # As long as a statement may wait.
    onlooker.execute("SET lock_timeout = '5s'")
    onlooker.execute("SELECT pg_advisory_lock(62)")


def test_much_in_both_directions_does_not_block(exchange: Exchange) -> None:
    exchange.execute("BEGIN")
    answers = [exchange.execute("SELECT %s::bytea", (LARGE,)) for _ in range(100)]
    exchange.execute("COMMIT")

    assert all(answer.fetchone() == (LARGE,) for answer in answers)


def test_a_session_that_the_server_ends_is_told_with_its_reason(
    exchange: Exchange, onlooker: psycopg.Connection[tuple[object, ...]]
) -> None:
    exchange.execute("BEGIN")
    exchange.wait()
    onlooker.execute("SELECT pg_terminate_backend(%s, 5000)", (exchange.backend_pid,))

    exchange.execute("SELECT 1")
    with pytest.raises(psycopg.errors.AdminShutdown):
        exchange.wait()

    assert exchange.closed


def test_an_answer_that_cannot_be_read_ends_the_connection(exchange: Exchange) -> None:
    """The answers behind it would be taken for those to the next statements."""
    exchange.execute("BEGIN")
    exchange.execute("SELECT 'infinity'::date")
    exchange.execute("SELECT 1")

    with pytest.raises(psycopg.DataError):
        exchange.wait()

    assert exchange.closed


def test_a_session_that_is_ended_while_it_commits_is_lost_and_not_in_disorder(
    exchange: Exchange, onlooker: psycopg.Connection[tuple[object, ...]]
) -> None:
    """The server answers COMMIT, and then says that it ends the session, which nobody asked for."""
    onlooker.execute("CREATE TABLE kept (number bigint)")
    # Waits for others before it writes to the disk, in milliseconds that are never cut short.
    exchange.execute("SET commit_delay = 100000")
    exchange.execute("SET commit_siblings = 0")
    exchange.wait()
    pid = exchange.backend_pid
    committing = "SELECT FROM pg_stat_activity WHERE pid = %s AND query = 'COMMIT'"

    def end_it() -> None:
        while onlooker.execute(committing, (pid,)).fetchone() is None:
            pass
        onlooker.execute("SELECT pg_terminate_backend(%s)", (pid,))

    exchange.execute("BEGIN")
    exchange.execute("INSERT INTO kept VALUES (%s)", (1,))
    exchange.execute("COMMIT")
    with ThreadPoolExecutor(1) as beside:
        ending = beside.submit(end_it)
        with pytest.raises(psycopg.errors.AdminShutdown):
            exchange.wait()
        ending.result(10)

    assert exchange.closed
    assert onlooker.execute("SELECT count(*) FROM kept").fetchone() == (1,)


@pytest.mark.parametrize("size", [1, 30_000_000], ids=["answers", "takes"])
def test_a_server_that_stays_silent_is_given_up(own_postgres: PostgresServer, size: int) -> None:
    connector = Connector.parse(own_postgres.address, "public", owner="")
    exchange = Exchange(connector.connect_writer(), silence=1)
    exchange.execute("BEGIN")
    exchange.wait()
    pid = exchange.backend_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        exchange.execute("SELECT %s::bytea", (bytes(size),))
        with pytest.raises(psycopg.OperationalError, match="silent for 1 s"):
            exchange.wait()
    finally:
        os.kill(pid, signal.SIGCONT)

    assert exchange.closed
