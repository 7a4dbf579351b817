"""What an outage is like, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal["compute", "reducer", "effect"]
Way = Literal["addresses", "registry"]

KINDS: Final[tuple[Kind, ...]] = ("compute", "reducer", "effect")
STORES: Final = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True)
class Plan:
    """One outage.

    Attributes:
        kind: the node that is away.
        down_s: seconds for which it is.
        workflows: how many wait for it, half of them code and half of them graphs.
        restarted: the orchestrator is ended and started again in the middle.
        way: how the nodes find each other.
        store: where they keep their state.
        by_kill: processes are ended by SIGKILL, else by SIGTERM.
        seed: of chance.
    """

    kind: Kind
    down_s: float
    workflows: int
    restarted: bool = False
    way: Way = "addresses"
    store: str = "sqlite"
    by_kill: bool = True
    seed: int = 0


@dataclass(slots=True)
class Figures:
    """What came of an outage.

    Attributes:
        down_s: seconds for which the node was away.
        failed: workflows that did not come to their result.
        first_after_s, all_after_s: seconds from the moment at which the node said that it serves to
            the end of the first and of the last workflow; None where none ended, or not all.
        faults: all that is wrong, in words; empty where nothing is.
    """

    down_s: float
    failed: int = 0
    first_after_s: float | None = None
    all_after_s: float | None = None
    faults: list[str] = field(default_factory=list)
