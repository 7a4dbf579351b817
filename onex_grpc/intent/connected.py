"""Which workers are connected to a queue, and what they take."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence


@dataclass(frozen=True, slots=True, eq=False)
class _Connection:
    worker: str
    accepts: frozenset[str]


class ConnectedWorkers:
    """The workers of the open streams; one that is connected twice is one."""

    def __init__(self) -> None:
        """Nobody is connected."""
        self._open: set[_Connection] = set()

    @contextmanager
    def joined(self, worker: str, accepts: frozenset[str]) -> Iterator[None]:
        """Counts a worker while the block runs; one without `accepts` takes everything."""
        connection = _Connection(worker, accepts)
        self._open.add(connection)
        try:
            yield
        finally:
            self._open.remove(connection)

    def count(self, routes: Collection[str]) -> Sequence[int]:
        """How many workers take each of these routes; the empty one all of them."""
        of_all = {each.worker for each in self._open if not each.accepts}
        of: dict[str, set[str]] = {route: set() for route in routes}
        for each in self._open:
            for route in each.accepts & of.keys():
                of[route].add(each.worker)
            if "" in of:
                of[""].add(each.worker)
        return [len(of_all | of[route]) for route in routes]
