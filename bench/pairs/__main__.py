"""Has the working tree become slower than an older commit?

The processes of both sides are up side by side. In a pair both work on the same figure, each while
the other is held still, in turns of 20 to 250 ms; the ratio of the rates, new ÷ old (above 1 is
faster), is taken pair by pair, and which side begins changes from pair to pair. More pairs are
measured where the 95 % interval of the median ratio is wider than 0.10. Exits with 1 when an
interval lies wholly below 0.97, or is still wider.

    python -m bench.pairs --against COMMIT [--bench call workflow store] [--pairs 20] [--most 200]
        [--state FILE] [--json]
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from bench.pairs.figures import FIGURES
from bench.pairs.interval import FEWEST
from bench.pairs.ledger import Ledger
from bench.pairs.sides import copy_tree, take_commit
from bench.pairs.sittings import Sittings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.pairs.interval import Interval


def measure(options: argparse.Namespace) -> Mapping[str, Interval]:
    """Return the interval of each figure, by its name."""
    with tempfile.TemporaryDirectory(prefix="onex-sides-") as folder:
        new = copy_tree(Path(folder) / "new")
        old = take_commit(options.against, Path(folder) / "old")
        for side in (new, *old):
            side.check()
        ledger = Ledger(new.digest, old[0].digest, options.state)
        for bench in options.bench:
            Sittings(bench, new, old, ledger, options.pairs, options.most).run()
    names = [str(figure) for bench in options.bench for figure in FIGURES[bench]]
    return {name: ledger.interval(name) for name in names}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="compare the working tree with an older commit")
    parser.add_argument("--against", required=True, metavar="COMMIT", help="the older side")
    parser.add_argument(
        "--bench", nargs="+", choices=list(FIGURES), default=list(FIGURES), help="all by default"
    )
    parser.add_argument("--pairs", type=int, default=20, help="of each figure at least")
    parser.add_argument("--most", type=int, default=200, help="of each figure at most")
    parser.add_argument("--state", type=Path, metavar="FILE", help="keep pairs here, and go on")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if not FEWEST <= options.pairs <= options.most:
        parser.error(f"--pairs must be from {FEWEST} to --most")
    return options


def _print_json(against: str, intervals: Mapping[str, Interval]) -> None:
    figures = {
        name: {key: round(value, 4) for key, value in asdict(each).items()}
        | {"verdict": each.verdict}
        for name, each in intervals.items()
    }
    print(json.dumps({"against": against, "ratio": "new / old of the rate", "figures": figures}))


def _print_table(against: str, intervals: Mapping[str, Interval]) -> None:
    table = Table(title=f"working tree ÷ {against}, rates: above 1 is faster")
    for column in ("figure", "pairs", "median", "low", "high", "verdict"):
        table.add_column(column, justify="left" if column in ("figure", "verdict") else "right")
    for name, each in intervals.items():
        numbers = (f"{value:.3f}" for value in (each.median, each.low, each.high))
        table.add_row(name, str(each.pairs), *numbers, each.verdict)
    Console(width=100).print(table)


def main() -> None:
    """Measure, print, and exit with the verdict."""
    options = _options()
    # The processes are ended on the way out.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    intervals = measure(options)
    (_print_json if options.json else _print_table)(options.against, intervals)
    sys.exit(any(each.verdict != "ok" for each in intervals.values()))


if __name__ == "__main__":
    main()
