"""The figures of the benchmarks that are compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bench import call, workflow
from bench.store_load import OPERATIONS
from bench.store_pairs import CONCURRENCY as STORE_CONCURRENCY
from bench.workflow_load import WORKFLOWS

PLACES: Final = ("processes", "inprocess")
BACKENDS: Final = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True)
class Figure:
    """A rate.

    Attributes:
        bench: the benchmark.
        what: is done.
        callers: at a time.
    """

    bench: str
    what: str
    callers: int

    def __str__(self) -> str:
        return f"{self.bench}/{self.what}/c{self.callers}"


FIGURES: Final = {
    "call": [Figure("call", share, c) for share in call.SAMPLING for c in call.CONCURRENCY],
    "workflow": [
        Figure("workflow", f"{place}/{kind}", c)
        for place in PLACES
        for kind in WORKFLOWS
        for c in workflow.CONCURRENCY
    ],
    "store": [
        Figure("store", f"{backend}/{operation}", c)
        for backend in BACKENDS
        for operation in OPERATIONS
        for c in STORE_CONCURRENCY.values()
    ],
}
