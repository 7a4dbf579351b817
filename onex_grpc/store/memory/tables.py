"""What a store in memory holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onex_grpc.store.lease_rules import LeaseRow
    from onex_grpc.store.model import (
        HistoryEntry,
        IdempotencyRecord,
        LoggedAction,
        NodeEntry,
        RecordedAction,
        StoredEvent,
    )
    from onex_grpc.store.step_rules import StepRow


@dataclass(frozen=True, slots=True)
class State:
    """The present state of a key."""

    version: int
    state: bytes
    state_type: str
    is_open: bool


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a key; `sequence` is its place among those of all keys."""

    sequence: int
    key: str
    entry: HistoryEntry


@dataclass(frozen=True, slots=True)
class Action:
    """A recorded action: what a repeat gets, and what the audit trail tells."""

    recorded: RecordedAction
    logged: LoggedAction


class Stage(Enum):
    """Where an intent stands; BLOCKED is behind an earlier one of its order_key."""

    READY = auto()
    SCHEDULED = auto()
    IN_FLIGHT = auto()
    BLOCKED = auto()
    COMPLETED = auto()
    DEAD = auto()
    CANCELLED = auto()


@dataclass(frozen=True, slots=True)
class Intent:
    """An intent of the queue; `timed_us` is the end of its wait (SCHEDULED) or of its visibility
    (IN_FLIGHT).
    """

    sequence: int
    intent_id: str
    stage: Stage
    priority: int
    rank_us: int
    max_attempts: int
    order_key: str
    route: str
    created_us: int
    traceparent: str
    payload: bytes
    timed_us: int = 0
    attempts: int = 0
    nonce: str = ""
    worker: str = ""
    last_error: bytes = b""
    redrives: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """A pending step; `sequence` is its place in the order of first recordings."""

    sequence: int
    row: StepRow


@dataclass(slots=True)
class Tables:
    """All tables. Finished intents stand apart, so that a claim does not walk over them."""

    leases: dict[str, LeaseRow] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)
    history: dict[tuple[str, int], Version] = field(default_factory=dict)
    checkpoints: dict[tuple[str, str], int] = field(default_factory=dict)
    actions: dict[tuple[str, str], Action] = field(default_factory=dict)
    steps: dict[str, dict[str, Step]] = field(default_factory=dict)
    queue: dict[int, Intent] = field(default_factory=dict)
    finished: dict[int, Intent] = field(default_factory=dict)
    intent_ids: dict[str, int] = field(default_factory=dict)
    tally: dict[tuple[int, int, str], int] = field(default_factory=dict)
    events: dict[tuple[str, str], StoredEvent] = field(default_factory=dict)
    topics: dict[str, list[StoredEvent]] = field(default_factory=dict)
    expired_events: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, IdempotencyRecord] = field(default_factory=dict)
    recorded_us: dict[str, int] = field(default_factory=dict)
    nodes: dict[tuple[str, str], NodeEntry] = field(default_factory=dict)
    secrets: dict[str, bytes] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)

    def version(self, key: str) -> int:
        """The version of a state; 0 where there is none."""
        row = self.states.get(key)
        return row.version if row else 0
