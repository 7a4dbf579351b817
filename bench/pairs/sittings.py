"""Sittings: both sides are started, measured in pairs for some rounds, and started anew."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.children import ChildEndedError
from bench.pairs.figures import FIGURES
from bench.pairs.ledger import Pair
from bench.pairs.rigs import build_rig
from bench.pairs.turns import measure_pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.pairs.figures import Figure
    from bench.pairs.ledger import Ledger
    from bench.pairs.rigs import Rig
    from bench.pairs.sides import Side

# Two processes of the same code differ by some per cent for as long as they live (addresses, hash
# seeds, who shares a core): what is measured in one sitting alone is their difference, too.
_ROUNDS: Final = 5
_ATTEMPTS: Final = 5


class Sittings:
    """The pairs of one benchmark, until each figure has enough of them."""

    def __init__(
        self, bench: str, new: Side, old: Sequence[Side], ledger: Ledger, fewest: int, most: int
    ) -> None:
        """Measure nothing yet.

        Args:
            bench: name of the benchmark.
            new: the working tree.
            old: the commit, with the drivers that are to be tried in turn.
            ledger: takes the pairs.
            fewest, most: pairs of each figure.
        """
        self._bench = bench
        self._new = new
        self._old = list(old)
        self._ledger = ledger
        self._fewest = fewest
        self._most = most

    def run(self) -> None:
        """Measure; returns when nothing more is needed."""
        while self._needed():
            with ExitStack() as stack:
                made = stack.enter_context(tempfile.TemporaryDirectory(prefix="onex-pairs-"))
                folder = Path(made)
                new = build_rig(self._bench, self._new, stack, folder / "new")
                self._sit(new, self._old_rig(stack, folder))

    def _sit(self, new: Rig, old: Rig) -> None:
        for figure in self._needed():
            measure_pair(figure, new, old)
        for _ in range(_ROUNDS):
            needed = self._needed()
            for figure in needed:
                self._ledger.add(str(figure), self._pair(figure, new, old))
            self._ledger.save()
            self._tell(needed)

    def _pair(self, figure: Figure, new: Rig, old: Rig) -> Pair:
        for _ in range(_ATTEMPTS):
            if self._ledger.count(str(figure)) % 2:
                second, first = measure_pair(figure, old, new)
            else:
                first, second = measure_pair(figure, new, old)
            # Both may stand still for a while when a disk does.
            if first > 0 and second > 0:
                return Pair(first, second)
        raise SystemExit(f"error: {figure}: no call ended in {_ATTEMPTS} attempts")

    def _old_rig(self, stack: ExitStack, folder: Path) -> Rig:
        while True:
            try:
                side = self._old[0]
                return build_rig(self._bench, side, stack, folder / f"old-{len(self._old)}")
            except ChildEndedError:
                self._old.pop(0)
                if not self._old:
                    raise
                _say(f"{self._bench}: the old side goes by its own drivers")

    def _needed(self) -> Sequence[Figure]:
        return [figure for figure in FIGURES[self._bench] if self._needs_more(str(figure))]

    def _needs_more(self, figure: str) -> bool:
        count = self._ledger.count(figure)
        if count < self._fewest:
            return True
        return count < self._most and self._ledger.interval(figure).is_wide

    def _tell(self, measured: Sequence[Figure]) -> None:
        if measured:
            most = max(self._ledger.count(str(figure)) for figure in measured)
            _say(f"{self._bench}: {most} pairs; {len(self._needed())} figures need more")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
