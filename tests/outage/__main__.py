"""`python -m tests.outage`: a node of a running mesh is away while workflows wait for it.

For each kind of node an orchestrator is up while the node is down; then the same again with a
restart of the orchestrator in the middle. Half of the workflows are code, half are graphs; every
second caller gives up now and then, and asks again. Every effect and every change of state is
counted. Exits with 1 when anything failed, happened twice, or took too long after the node's
return.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args

import click

import tests.outage.contracts  # noqa: F401 - before what needs it
from tests.outage.plan import KINDS, STORES, Plan, Way
from tests.outage.running import run_outage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.outage.plan import Figures, Kind

    Results = Sequence[tuple[Plan, Figures]]

_WAYS: Final[Sequence[Way]] = get_args(Way)
_FIRST_SECONDS: Final = 2.0
_ALL_SECONDS: Final = 10.0


@click.command(help=__doc__)
@click.option("--down", default=90.0, show_default=True, help="Seconds without the node.")
@click.option("--workflows", default=20, show_default=True, help="That wait for it.")
@click.option(
    "--only",
    default=",".join(KINDS),
    show_default=True,
    callback=lambda _context, _option, value: _kinds(value),
    help="Nodes that go away.",
)
@click.option(
    "--restart/--no-restart",
    default=None,
    help="Only with or only without a restart of the orchestrator; both by default.",
)
@click.option("--store", type=click.Choice(STORES), default="sqlite", show_default=True)
@click.option(
    "--find",
    type=click.Choice([*_WAYS, "alternate"]),
    default="alternate",
    show_default=True,
    help="How nodes find each other; in turns, so that each kind is found in both ways.",
)
@click.option("--signal", type=click.Choice(["KILL", "TERM"]), default="KILL", show_default=True)
@click.option("--seed", type=int, default=lambda: time.time_ns() % 2**32, help="Of chance.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(
    down: float,
    workflows: int,
    only: Sequence[Kind],
    restart: bool | None,
    store: str,
    find: str,
    signal: str,
    seed: int,
    as_json: bool,
) -> None:
    """Run the outages one after another, and print what came of them."""
    _say(f"seed {seed}")
    plans = [
        Plan(
            kind,
            down,
            workflows,
            restarted=restarted,
            way=_way(find, KINDS.index(kind) + restarted),
            store=store,
            by_kill=signal == "KILL",
            seed=seed,
        )
        for restarted in ((False, True) if restart is None else (restart,))
        for kind in only
    ]
    results = asyncio.run(_run_all(plans))
    (_print_json if as_json else _print_lines)(results)
    sys.exit(any(figures.faults for _, figures in results))


def _kinds(value: str) -> Sequence[Kind]:
    if unknown := set(value.split(",")) - set(KINDS):
        raise click.BadParameter(f"{', '.join(sorted(unknown))}: choose from {','.join(KINDS)}")
    return [kind for kind in KINDS if kind in value.split(",")]


def _way(find: str, number: int) -> Way:
    return next((way for way in _WAYS if way == find), _WAYS[number % 2])


async def _run_all(plans: Sequence[Plan]) -> Results:
    return [(plan, await _run(plan)) for plan in plans]


async def _run(plan: Plan) -> Figures:
    folder = Path(tempfile.mkdtemp(prefix="onex-outage-"))
    _say(f"{plan.kind}, found by {plan.way}, in {folder}")
    figures = await run_outage(plan, folder, _say)
    figures.faults += [
        f"the {which} workflow ended {after} s after the node served, more than {most:g} s"
        for which, after, most in (
            ("first", figures.first_after_s, _FIRST_SECONDS),
            ("last", figures.all_after_s, _ALL_SECONDS),
        )
        if after is not None and after > most
    ]
    for fault in figures.faults:
        _say(f"  {fault}")
    if figures.faults:
        _say(f"  logs are kept in {folder}")
    else:
        shutil.rmtree(folder)
    return figures


def _print_json(results: Results) -> None:
    plain, restarted = (
        {plan.kind: asdict(figures) for plan, figures in results if plan.restarted is chosen}
        for chosen in (False, True)
    )
    click.echo(json.dumps({**plain, "restarted": restarted} if restarted else plain))


def _print_lines(results: Results) -> None:
    for plan, each in results:
        click.echo(
            f"{plan.kind:8} {'restarted' if plan.restarted else '':10} down {each.down_s:g} s, "
            f"failed {each.failed}, first after {each.first_after_s} s, all after "
            f"{each.all_after_s} s"
        )


def _say(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    main()
