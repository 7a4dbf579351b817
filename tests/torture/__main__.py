"""`python -m tests.torture kill` and `python -m tests.torture lease`."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tests.store.server import PostgresServer
from tests.torture.contention import LeasePlan, LeaseTorture, keep
from tests.torture.killing import KillTorture
from tests.torture.seeded import BUGS
from tests.torture.stores import BACKENDS, PostgresSchema, SqliteFile, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.torture.judge import LeaseFigures
    from tests.torture.killing import KillFigures

_OWNER = "orchestrator/torture"

_store = click.option(
    "--store",
    type=click.Choice(["both", *BACKENDS]),
    default="both",
    show_default=True,
    help="What to torture.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_seed = click.option("--seed", type=int, default=lambda: time.time_ns() % 2**32, help="Of chance.")
_limit = click.option(
    "--limit-seconds",
    type=float,
    default=600.0,
    show_default=True,
    help="Begin nothing after this, and print how much was done.",
)


@click.group()
def main() -> None:
    """Real processes that are killed and stopped, and what the stores made of it."""


@main.command()
@click.option("--rounds", type=click.IntRange(1), default=200, show_default=True, help="Per store.")
@_store
@_seed
@_limit
@_json
def kill(rounds: int, store: str, seed: int, limit_seconds: float, as_json: bool) -> None:
    """Kill a writer with -9 at random moments: acknowledged is stored, and nothing by halves."""
    _say(f"seed {seed}")
    with ExitStack() as stack:
        folder = _folder()
        done: list[KillFigures] = []
        began = time.monotonic()
        chosen = _chosen(store)
        for name in chosen:
            share = (limit_seconds - (time.monotonic() - began)) / (len(chosen) - len(done))
            torture = KillTorture(name, _stores(name, folder, stack), folder, seed)
            done.append(torture.figures)
            wrong = asyncio.run(torture.run(rounds, _say, share))
            if wrong:
                _print(done, as_json)
                (folder / "wrong.txt").write_text("\n".join([*wrong, ""]))
                _fail([*wrong[:20], f"kept in {folder}"])
        shutil.rmtree(folder)
        _print(done, as_json)


@main.command()
@click.option(
    "--histories",
    type=click.IntRange(1),
    default=10_000,
    show_default=True,
    help="Workflows, per store.",
)
@click.option("--together", default=300, show_default=True, help="Workflows at one time.")
@click.option("--clients", default=3, show_default=True, help="Processes that contend.")
@click.option("--ttl", default=0.3, show_default=True, help="Seconds that a lease lasts.")
@click.option(
    "--seed-bug",
    type=click.Choice(list(BUGS)),
    is_flag=False,
    flag_value="older-fence",
    default=None,
    help="Give the stores a bug, to see it found; older-fence where no name follows.",
)
@_store
@_seed
@_limit
@_json
def lease(
    histories: int,
    together: int,
    clients: int,
    ttl: float,
    seed_bug: str | None,
    store: str,
    seed: int,
    limit_seconds: float,
    as_json: bool,
) -> None:
    """Contend for leases while processes are stopped: no stale write is ever accepted."""
    _say(f"seed {seed}")
    with ExitStack() as stack:
        folder = _folder()
        done: list[LeaseFigures] = []
        began = time.monotonic()
        chosen = _chosen(store)
        for name in chosen:
            share = (limit_seconds - (time.monotonic() - began)) / (len(chosen) - len(done))
            plan = LeasePlan(
                histories=histories,
                together=together,
                clients=clients,
                ttl=ttl,
                seed=seed,
                limit_seconds=share,
                bug=seed_bug or "",
            )
            torture = LeaseTorture(_stores(name, folder, stack)(0), plan, folder)
            done.append(torture.figures)
            violation = asyncio.run(torture.run(_say))
            if violation is not None:
                _print(done, as_json)
                _fail([violation.why, f"kept in {keep(violation, folder)}"])
            if torture.figures.stale_writes_stored:
                _print(done, as_json)
                _fail(["a history holds writes of former holders", f"kept in {folder}"])
        shutil.rmtree(folder)
        _print(done, as_json)


def _chosen(store: str) -> Sequence[str]:
    return BACKENDS if store == "both" else [store]


def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="onex-torture-"))


def _stores(name: str, folder: Path, stack: ExitStack) -> Callable[[int], Target]:
    if name == "sqlite":
        return lambda number: SqliteFile(folder / f"{number}.db")
    server = PostgresServer()
    stack.callback(server.stop)
    return partial(_schema, server)


def _schema(server: PostgresServer, number: int) -> Target:
    return PostgresSchema(server, f"{_OWNER}-{number}")


def _say(line: str) -> None:
    click.echo(line, err=True)


def _print(done: Sequence[KillFigures] | Sequence[LeaseFigures], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({figures.store: asdict(figures) for figures in done}))
        return
    for figures in done:
        for name, value in asdict(figures).items():
            click.echo(f"{name.replace('_', ' '):32} {value}")
        click.echo()


def _fail(lines: Sequence[str]) -> None:
    for line in lines:
        _say(line)
    sys.exit(1)


if __name__ == "__main__":
    main()
