"""From the logs of all clients to a verdict on each workflow's history, and to figures."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.torture import linearizability
from tests.torture.calls import is_callee
from tests.torture.exclusion import early_takeovers
from tests.torture.linearizability import Timed
from tests.torture.register import Call, Kind, Register, Result, step

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tests.torture.recorder import Log, Record


@dataclass(frozen=True, slots=True)
class Violation:
    """A history that cannot have been, and why."""

    workflow: str
    why: str
    history: Sequence[Record]


@dataclass(slots=True)
class LeaseFigures:
    """What was done and found."""

    store: str
    histories: int = 0
    callee_histories: int = 0
    operations: int = 0
    leases: int = 0
    takeovers: int = 0
    histories_with_takeover: int = 0
    pauses: int = 0
    histories_paused: int = 0
    server_stops: int = 0
    writes: int = 0
    writes_refused_stale: int = 0
    writes_refused_expired: int = 0
    unknown: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    stale_writes_stored: int = 0
    violations: int = 0
    seconds: float = 0.0

    def count(self, history: Sequence[Record]) -> None:
        """Adds a history."""
        calls = Counter((record.call.kind, record.call.result) for record in history)
        leases = calls[Kind.ACQUIRE, Result.OK]
        released = calls[Kind.RELEASE, Result.OK]
        if is_callee(history[0].workflow):
            self.callee_histories += 1
        else:
            self.histories += 1
        self.operations += len(history)
        self.leases += leases
        # The first lease and those that follow a release take nothing over.
        takeovers = max(0, leases - 1 - released)
        self.takeovers += takeovers
        self.histories_with_takeover += takeovers > 0
        self.writes += calls[Kind.WRITE, Result.OK]
        self.writes_refused_stale += calls[Kind.WRITE, Result.STALE]
        self.writes_refused_expired += calls[Kind.WRITE, Result.EXPIRED]
        self.unknown += sum(record.returned is None for record in history)

    def count_errors(self, errors: Iterable[str]) -> None:
        """Adds answers that left an outcome open, by their kind."""
        for error in errors:
            kind = error.partition(":")[0]
            self.errors[kind] = self.errors.get(kind, 0) + 1


def by_workflow(logs: Iterable[Log]) -> dict[str, list[Record]]:
    """The histories: all clients' calls on each workflow."""
    histories: dict[str, list[Record]] = defaultdict(list)
    for log in logs:
        for record in log.records:
            histories[record.workflow].append(record)
    return histories


def judge(history: Sequence[Record], ttl_us: int, tolerance_us: int) -> Violation | None:
    """What is wrong with the history of one workflow; None where nothing is."""
    timed = [Timed(record.call, record.invoked, record.returned) for record in history]
    initial = Register(issues=not is_callee(history[0].workflow))
    verdict = linearizability.check(timed, initial, step)
    if not verdict.linearizable:
        why = "no order explains the answers; after {} operations none of these fits: {}".format(
            len(verdict.order), "; ".join(_say(one.operation) for one in verdict.stuck)
        )
        return Violation(history[0].workflow, why, history)
    early = early_takeovers(history, ttl_us, tolerance_us)
    if early:
        why = f"leases were granted while earlier ones still ran (fences): {early}"
        return Violation(history[0].workflow, why, history)
    return None


def _say(call: Call) -> str:
    return f"{call.kind} fence={call.fence} version={call.version} -> {call.result}"
