"""One outage from its beginning to the account of what has happened."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Final

from tests.outage.house import ORCHESTRATOR, House
from tests.outage.ledger import wrong_entries
from tests.outage.plan import Figures
from tests.outage.trips import Trip, travel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.outage.plan import Plan
    from tests.outage.trips import Outcome

_AFTERWARDS_SECONDS: Final = 60.0
"""So long a workflow may still take when the node is back."""
_ARRIVAL_SECONDS: Final = 5.0
_TOLD: Final = 3


class Outage:
    """A mesh whose node goes away while workflows that need it are asked for."""

    def __init__(self, plan: Plan, house: House, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._house = house
        self._say = say
        self._chance = random.Random(plan.seed)  # noqa: S311 - to be repeated

    async def run(self) -> Figures:
        """Return what came of it."""
        await self._before()
        await self._house.end(self._plan.kind)
        began = time.monotonic()
        self._say(f"{self._plan.kind} is down for {self._plan.down_s:g} s")
        until = began + self._plan.down_s + _AFTERWARDS_SECONDS
        travels = [asyncio.create_task(self._arrive(trip, until)) for trip in self._trips()]
        await self._wait(travels, began)
        started = time.monotonic()
        served = await self._house.start(self._plan.kind)
        self._say(f"{self._plan.kind} serves again after {served - began:.1f} s")
        outcomes = await asyncio.gather(*travels)
        return await self._judge(outcomes, Figures(round(started - began, 1)), started, served)

    async def _before(self) -> None:
        """Run workflows while all is well, so that connections are there to be lost."""
        until = time.monotonic() + _AFTERWARDS_SECONDS
        for name in _BEFORE:
            trip = Trip(name, is_graph=name.startswith("graph"), patience=_AFTERWARDS_SECONDS)
            outcome = await travel(self._house.mesh, trip, until)
            if outcome.failure:
                raise RuntimeError(f"{name} failed before any outage: {outcome.failure}")

    def _trips(self) -> Sequence[Trip]:
        """Return half code and half graphs; every second caller gives up, and asks again."""
        patient = self._plan.down_s + _AFTERWARDS_SECONDS
        return [
            Trip(
                f"{'graph' if number % 2 else 'code'}-{number // 2}",
                is_graph=bool(number % 2),
                patience=self._chance.uniform(0.5, 5.0) if number // 2 % 2 else patient,
            )
            for number in range(self._plan.workflows)
        ]

    async def _arrive(self, trip: Trip, until: float) -> Outcome:
        await asyncio.sleep(self._chance.uniform(0, min(_ARRIVAL_SECONDS, self._plan.down_s / 4)))
        return await travel(self._house.mesh, trip, until)

    async def _wait(self, travels: Sequence[asyncio.Task[Outcome]], began: float) -> None:
        """Return when the outage is over, or no workflow is left that waits for its end."""
        end = began + self._plan.down_s
        if self._plan.restarted:
            share = self._chance.uniform(0.4, 0.6)
            await _either(travels, began + share * self._plan.down_s)
            await self._house.end(ORCHESTRATOR)
            await self._house.start(ORCHESTRATOR)
            self._say("orchestrator was restarted")
        await _either(travels, end)

    async def _judge(
        self, outcomes: Sequence[Outcome], figures: Figures, started: float, served: float
    ) -> Figures:
        failed = [outcome for outcome in outcomes if outcome.failure]
        ends = [outcome.at - served for outcome in outcomes if not outcome.failure]
        figures.failed = len(failed)
        if ends:
            figures.first_after_s = round(min(ends), 2)
        if not failed:
            figures.all_after_s = round(max(ends), 2)
        figures.faults += _told(failed)
        figures.faults += [
            f"{outcome.trip.name} ended while {self._plan.kind} was away"
            for outcome in outcomes
            if not outcome.failure and outcome.at < started
        ]
        names = [outcome.trip.name for outcome in outcomes if not outcome.failure]
        wrong = await wrong_entries(self._house, [*_BEFORE, *names], _names(failed))
        figures.faults += wrong
        return figures


_BEFORE: Final = ("code-before", "graph-before")


async def run_outage(plan: Plan, folder: Path, say: Callable[[str], None]) -> Figures:
    """Run the processes of a plan in an empty folder, and return what came of it."""
    async with House(folder, plan) as house:
        return await Outage(plan, house, say).run()


async def _either(travels: Sequence[asyncio.Task[Outcome]], moment: float) -> None:
    await asyncio.wait(travels, timeout=max(0.0, moment - time.monotonic()))


def _names(outcomes: Sequence[Outcome]) -> Sequence[str]:
    return [outcome.trip.name for outcome in outcomes]


def _told(failed: Sequence[Outcome]) -> list[str]:
    """Return a line for each reason, with some of the workflows that it was the reason of."""
    by_reason: dict[str, list[str]] = {}
    for outcome in failed:
        reason = outcome.failure.replace(outcome.trip.name, "…")
        by_reason.setdefault(reason, []).append(outcome.trip.name)
    return [
        f"{len(names)} failed ({', '.join(names[:_TOLD])}…): {reason}"
        for reason, names in by_reason.items()
    ]
