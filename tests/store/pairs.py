"""Two stores side by side: each operation on both, and what the two make of it compared."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from onex_grpc.errors import OnexError
from onex_grpc.store import (
    ClaimedIntent,
    Guard,
    HistoryEntry,
    LeaseGrant,
    LoggedAction,
    Started,
    Store,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from typing import TypeVar

    R = TypeVar("R")


@dataclass
class Side:
    """One of the stores, with what it has handed out: both have done so in the same order."""

    store: Store
    guards: list[Guard] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def note(self, result: object) -> None:
        """Remembers a new lease or claims for later operations."""
        if isinstance(result, Started):
            result = result.lease
        if isinstance(result, LeaseGrant) and result.guard not in self.guards:
            assert all(result.fence > guard.fence for guard in self.guards)
            self.guards.append(result.guard)
        if isinstance(result, list):
            self.tokens += [one.claim_token for one in result if isinstance(one, ClaimedIntent)]

    def plain(self, result: object) -> object:
        """The result with the stores' own numbers and secrets named by the order of their issue.

        A commit that fails may cost a store a fence, so fences are compared by their order.
        """
        match result:
            case LeaseGrant():
                return replace(result, lease_id="", fence=self.guards.index(result.guard))
            case Guard():
                return self.guards.index(result) if result in self.guards else result
            case Started():
                return self.plain(result.lease), result.version
            case ClaimedIntent():
                return replace(result, claim_token=result.claim_token.partition(".")[0])
            case HistoryEntry() | LoggedAction():
                issued = next((g for g in self.guards if g.lease_id == result.lease_id), None)
                if issued is None:
                    return result
                return replace(result, lease_id="", fence=self.guards.index(issued))
            case OnexError():
                context = {k: v for k, v in result.context.items() if k not in _OF_THE_STORE}
                return type(result), result.status, result.retry_after, context
            case list() | tuple():
                return [self.plain(one) for one in result]
            case _:
                return result


_OF_THE_STORE = ("known_fence", "sqlite")


class Pair:
    """Two stores that must behave alike."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *stores: Store) -> None:
        self._loop = loop
        self._sides = [Side(store) for store in stores]

    def run(self, work: Coroutine[object, object, R]) -> R:
        """Runs a coroutine on the stores' event loop."""
        return self._loop.run_until_complete(work)

    def same(self, *operations: Callable[[Side], Awaitable[object]]) -> list[object]:
        """Does operations on both stores, those of each at once, and compares what they give.

        Returns:
            the results, or errors, of the first store.
        """
        results = [self.run(_all(side, operations)) for side in self._sides]
        for side, given in zip(self._sides, results, strict=True):
            for one in given:
                side.note(one)
        plain = [side.plain(given) for side, given in zip(self._sides, results, strict=True)]
        assert plain[0] == plain[1], [(a, b) for a, b in zip(*plain, strict=True) if a != b]
        return list(results[0])

    @property
    def guards(self) -> int:
        """How many leases were granted."""
        return len(self._sides[0].guards)

    @property
    def tokens(self) -> int:
        """How many claims were handed out."""
        return len(self._sides[0].tokens)

    def close(self) -> None:
        """Closes both."""
        for side in self._sides:
            self.run(side.store.close())


async def _all(
    side: Side, operations: Sequence[Callable[[Side], Awaitable[object]]]
) -> Sequence[object]:
    outcomes = await asyncio.gather(
        *(operation(side) for operation in operations), return_exceptions=True
    )
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, OnexError):
            raise outcome
    return outcomes
