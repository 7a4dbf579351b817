"""Runs: a mesh is asked, killed as a whole, started again and asked again, until all is done."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from onex_grpc.contract.canonical import same_content
from onex_grpc.errors import DeadlineExceededError, NodeUnavailableError, OnexError
from tests.identity.errands import KINDS, Errand, Way
from tests.identity.nodes import CENTS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from google.protobuf.message import Message

    from tests.identity.house import House

K = TypeVar("K")

_OF_EACH_KIND: Final = 2
_SPREAD: Final = 0.4
_KILLED_AGAIN: Final = 0.25
"""How often a mesh that goes on is killed once more."""
_PAUSE: Final = 0.05
_LONGEST: Final = 60.0
"""Seconds after which an answer or a shipment that is still not there is missing."""


@dataclass(slots=True)
class Figures:
    """What was done and found.

    Attributes:
        workflows: everything that was asked for, single actions and effects included.
        done_twice: shipments and bookings beyond those that were asked for.
        missing: those that were asked for and are not there, answers included.
        inexact: sums of money that are wrong.
        refused: repeats that were taken for something else, or answered in another way.
    """

    runs: int = 0
    kills: int = 0
    workflows: int = 0
    done_twice: int = 0
    missing: int = 0
    inexact: int = 0
    refused: int = 0
    seconds: float = 0.0

    @property
    def totals_exact(self) -> bool:
        """Nothing is missing, nothing was done twice, and every repeat was recognised."""
        return not (self.done_twice or self.missing or self.inexact or self.refused)


class Torture:
    """Runs on one mesh, which is served; it keeps all it has done."""

    def __init__(self, house: House, chance: random.Random, say: Callable[[str], None]) -> None:
        self.figures = Figures()
        self._house = house
        self._chance = chance
        self._say = say
        self._done: list[tuple[str, Sequence[Errand]]] = []

    async def run(self) -> None:
        """One run; an account of its own keeps its bookings."""
        began = time.monotonic()
        figures = self.figures
        figures.runs += 1
        account = f"account-{figures.runs}"
        errands = [
            kind(self._house, account, f"{kind.__name__}-{figures.runs}-{number}")
            for kind in KINDS
            for number in range(_OF_EACH_KIND)
        ]
        figures.workflows += len(errands)
        self._done.append((account, errands))
        asking = [asyncio.create_task(self._ask_all_ways(errand)) for errand in errands]
        for _ in range(2 if self._chance.random() < _KILLED_AGAIN else 1):
            # The moment is what is drawn.
            await asyncio.sleep(self._chance.uniform(0, _SPREAD * 1.5))
            await self._house.kill()
            figures.kills += 1
            await self._house.start()
        await asyncio.gather(*asking)
        figures.seconds += time.monotonic() - began

    async def judge(self) -> None:
        """Counts what was done, once the intents have been carried out."""
        expected = Counter(
            (errand.parcel, leg)
            for _, errands in self._done
            for errand in errands
            for leg in errand.legs
        )
        for _ in range(int(_LONGEST / _PAUSE)):
            if not expected - self._shipped():
                break
            await asyncio.sleep(_PAUSE)
        shipped = self._shipped()
        self._count("shipments", shipped, expected)
        cents = sum(cents for _, _, cents in self._house.shipments())
        self._sum("shipments", cents, expected.total())
        for account, errands in self._done:
            state = await self._house.account(account)
            wanted = sum(errand.bookings for errand in errands)
            self._count(account, Counter(bookings=state.bookings), Counter(bookings=wanted))
            self._sum(account, state.cents, wanted)

    def _shipped(self) -> Counter[tuple[str, str]]:
        return Counter((parcel, leg) for parcel, leg, _ in self._house.shipments())

    def _sum(self, what: str, cents: int, wanted: int) -> None:
        if cents != wanted * CENTS:
            self.figures.inexact += 1
            self._say(f"{what}: {cents} cents instead of {wanted * CENTS}")

    def _count(self, what: str, found: Counter[K], wanted: Counter[K]) -> None:
        for beyond in (found - wanted).elements():
            self.figures.done_twice += 1
            self._say(f"{what}: done twice: {beyond}")
        for absent in (wanted - found).elements():
            self.figures.missing += 1
            self._say(f"{what}: missing: {absent}")

    async def _ask_all_ways(self, errand: Errand) -> None:
        await asyncio.sleep(self._chance.uniform(0, _SPREAD))
        ways = self._chance.sample(errand.ways, len(errand.ways))
        first: Sequence[Message] | None = None
        for way in (*ways, ways[0]):
            try:
                async with asyncio.timeout(_LONGEST):
                    answer = await self._insist(way)
            except TimeoutError:
                self.figures.missing += 1
                self._say(f"{errand.parcel}: no answer")
                return
            except OnexError as error:
                self.figures.refused += 1
                self._say(f"{errand.parcel}: {type(error).__name__}: {error.message}")
                return
            first = first or answer
            if not all(map(same_content, first, answer)) or len(first) != len(answer):
                self.figures.refused += 1
                self._say(f"{errand.parcel}: answered in two ways")

    async def _insist(self, way: Way) -> Sequence[Message]:
        while True:
            try:
                # In a task of its own, whose calls name the action.
                return await asyncio.create_task(_ask(way))
            except (NodeUnavailableError, DeadlineExceededError):
                await asyncio.sleep(_PAUSE)


async def _ask(way: Way) -> Sequence[Message]:
    return await way()
