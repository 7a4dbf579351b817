"""The command: runs on each store, and what came of them."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tests.identity.house import House
from tests.identity.torture import Figures, Torture
from tests.store.server import PostgresServer
from tests.torture.stores import BACKENDS

if TYPE_CHECKING:
    from collections.abc import Callable


@click.command()
@click.option("--runs", type=click.IntRange(1), default=50, show_default=True, help="Per store.")
@click.option(
    "--store",
    type=click.Choice(["both", *BACKENDS]),
    default="both",
    show_default=True,
    help="Where the nodes keep their state.",
)
@click.option("--seed", type=int, default=lambda: time.time_ns() % 2**32, help="Of chance.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(runs: int, store: str, seed: int, as_json: bool) -> None:
    """Kill a whole mesh while what it does is packed anew each time: nothing is done twice."""
    _say(f"seed {seed}")
    found: dict[str, Figures] = {}
    for name in BACKENDS if store == "both" else (store,):
        folder = Path(tempfile.mkdtemp(prefix="onex-identity-"))
        with ExitStack() as stack:
            address = ""
            if name == "postgresql":
                server = PostgresServer()
                stack.callback(server.stop)
                address = server.address
            tell = _teller(name)
            found[name] = asyncio.run(tortured(folder, address, runs, seed, tell))
        if found[name].totals_exact:
            shutil.rmtree(folder)
        else:
            tell(f"kept in {folder}")
    _print(found, as_json)
    sys.exit(not all(figures.totals_exact for figures in found.values()))


async def tortured(
    folder: Path, address: str, runs: int, seed: int, say: Callable[[str], None]
) -> Figures:
    """The figures of so many runs on one mesh, whose nodes keep their state at an address."""
    chance = random.Random(seed)  # noqa: S311 - moments of death, not secrets
    house = House(folder, address, chance)
    try:
        await house.start()
        torture = Torture(house, chance, say)
        for _ in range(runs):
            await torture.run()
            figures = torture.figures
            say(f"{figures.runs}/{runs} runs, {figures.kills} kills, {figures.seconds:.1f} s")
        await torture.judge()
        return torture.figures
    finally:
        await house.close()


def _teller(store: str) -> Callable[[str], None]:
    return lambda line: _say(f"{store}: {line}")


def _say(line: str) -> None:
    click.echo(line, err=True)


def _print(found: dict[str, Figures], as_json: bool) -> None:
    shown = {
        store: {**asdict(figures), "totals_exact": figures.totals_exact}
        for store, figures in found.items()
    }
    if as_json:
        click.echo(json.dumps(shown))
        return
    for store, values in shown.items():
        for name, value in values.items():
            click.echo(f"{store:12} {name.replace('_', ' '):14} {value}")
