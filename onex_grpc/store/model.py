"""Values that go into and come out of a store. Times are microseconds of the store's clock since
the Unix epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Guard:
    """Whose write this is: checked, and raised, in the transaction of the write."""

    workflow_id: str
    lease_id: str = field(repr=False)
    fence: int


@dataclass(frozen=True, slots=True)
class LeaseGrant:
    """A lease as its holder gets it; `expires_us` is by the store's clock, `remaining_us` at the
    time of the answer.
    """

    workflow_id: str
    lease_id: str = field(repr=False)
    fence: int
    holder: str
    ttl_us: int
    remaining_us: int
    epoch: int

    @property
    def guard(self) -> Guard:
        """The guard for writes under this lease."""
        return Guard(self.workflow_id, self.lease_id, self.fence)


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """A wish for a lease; the same `request_id` gets the same lease again."""

    workflow_id: str
    holder: str
    ttl_us: int
    request_id: str
    # Set by an orchestrator that has proved (by the store's lock) that the holder's earlier process
    # is gone: a lease of
    # the same holder is then taken over at once.
    take_over_own: bool = False
    # A holder that the store's lock has proved gone: its lease is taken over at once, too.
    take_over_from: str = ""


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """What is kept of an action, for replays and for the audit."""

    scope: str
    """The workflow (or reducer) in which the action id is unique."""
    action_id: str
    content_hash: bytes
    """SHA-256 over the action's content, so that the same id with other content is seen."""
    action_type: int
    target: str
    correlation_id: str
    issued_us: int
    fence: int = 0
    epoch: int | None = None
    """The basis that the action stated."""
    lease_id: str = field(default="", repr=False)
    parent_action_id: str = ""
    request: bytes = b""
    """The serialised command where it is needed again (START_WORKFLOW), else empty."""


@dataclass(frozen=True, slots=True)
class RecordedAction:
    """The outcome of a known action: its reply, or its error."""

    content_hash: bytes
    reply: bytes
    error: bytes
    epoch: int
    request: bytes
    issued_us: int


class IntentState(IntEnum):
    """Where an intent stands in the queue; the numbers are those of onex.v1.IntentStatus."""

    PENDING = 1
    IN_FLIGHT = 2
    COMPLETED = 3
    DEAD = 4
    CANCELLED = 6


@dataclass(frozen=True, slots=True)
class NewIntent:
    """An intent on its way into the queue; `payload` is the serialised ModelIntent."""

    intent_id: str
    priority: int
    """1 (critical) to 5 (background)."""
    max_attempts: int
    payload: bytes
    correlation_id: str
    traceparent: str = ""
    order_key: str = ""
    route: str = ""
    """What a worker must accept to get it; empty for any worker."""


@dataclass(frozen=True, slots=True)
class ClaimedIntent:
    """An intent in the hands of a worker until `visible_us`."""

    intent_id: str
    claim_token: str
    attempt: int
    max_attempts: int
    payload: bytes
    traceparent: str
    visible_us: int
    redrives: int
    """How often an operator has given it new attempts."""


@dataclass(frozen=True, slots=True)
class StoredIntent:
    """An intent as the queue lists it; `sequence` is its position, for paging."""

    sequence: int
    payload: bytes
    state: IntentState
    attempts: int
    last_error: bytes


@dataclass(frozen=True, slots=True)
class KeptIntent:
    """An intent that was to be cancelled when it was in flight or had ended."""

    intent_id: str
    state: IntentState


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What became of intents that were to be cancelled; unknown ones are left out.

    `cancelled` counts those that an earlier call has cancelled, too.
    """

    cancelled: int
    kept: Sequence[KeptIntent]


@dataclass(frozen=True, slots=True)
class PriorityStats:
    """The unfinished intents of one priority; `oldest_pending_us` as in QueueStats."""

    priority: int
    pending: int
    in_flight: int
    oldest_pending_us: int | None


@dataclass(frozen=True, slots=True)
class RouteStats:
    """The pending intents of one route; `oldest_pending_us` as in QueueStats."""

    route: str
    pending: int
    oldest_pending_us: int | None


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Counts of the queue; completed and cancelled ones are all there ever were.

    `oldest_pending_us` is the age of the one that has waited longest among those that are looked
    at, None where none of these waits: of those that are ready the first 5,000 by rank, as many of
    each route, but one at least; of those that wait for a time 5,000, and of those that wait for an
    earlier one of their order_key.
    """

    pending: int
    in_flight: int
    completed: int
    dead: int
    cancelled: int
    oldest_pending_us: int | None
    priorities: Sequence[PriorityStats]
    """Those of which anything is unfinished, the most urgent first."""
    routes: Sequence[RouteStats]
    """Those on which anything is pending, the longest-waiting first; 1000 at most."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event on its way into the log; `payload` is the serialised onex.v1.Event without sequence
    and time.
    """

    topic: str
    event_id: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event of the log."""

    sequence: int
    payload: bytes
    published_us: int


@dataclass(frozen=True, slots=True)
class Exact:
    """The write expects the state to have this version."""

    version: int


@dataclass(frozen=True, slots=True)
class FenceOnly:
    """The write is that of the only writer: its guard alone is checked."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One change of one state with all that belongs to it: one transaction.

    `open` says whether the key stays in the list of unfinished work (a running workflow); None
    leaves it as it is.
    """

    key: str
    expect: Exact | FenceOnly
    state: bytes
    state_type: str
    guard: Guard | None = None
    kind: str = ""
    """What changed the state, for the history: an action's type or a transition's name."""
    intents: Sequence[NewIntent] = ()
    actions: Sequence[ActionRecord] = ()
    reply: bytes = b""
    """Recorded with every action of this commit."""
    open: bool | None = None
    release: bool = False
    """Ends the guard's lease in the same transaction."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Pins the version that a state has, so that it outlives pruning; writes no new one."""

    key: str
    name: str
    """Unique for the key."""
    expect: Exact | FenceOnly
    guard: Guard | None = None
    actions: Sequence[ActionRecord] = ()
    reply: bytes = b""


@dataclass(frozen=True, slots=True)
class Rollback:
    """Writes the content of an earlier version as a new one."""

    key: str
    to: int | str
    """A version, or the name of a checkpoint."""
    expect: Exact | FenceOnly
    guard: Guard | None = None
    kind: str = ""
    actions: Sequence[ActionRecord] = ()
    reply: bytes = b""
    open: bool | None = None
    rewritten: bytes | None = None
    """What is written instead of the old content, where a part of it must not be as it was."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One version of a state and who wrote it; `holder` is empty where another store issued the
    lease.
    """

    version: int
    kind: str
    written_us: int
    fence: int
    holder: str
    lease_id: str = field(repr=False)
    action_id: str
    parent_action_id: str
    state_type: str
    state: bytes
    checkpoints: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class LoggedAction:
    """One action of the audit trail; `sequence` is its position, for paging."""

    sequence: int
    action_id: str
    action_type: int
    target: str
    correlation_id: str
    parent_action_id: str
    fence: int
    holder: str
    lease_id: str = field(repr=False)
    basis: int | None
    """The epoch that the action stated."""
    epoch: int
    """The version that it led to."""
    error: bytes
    """Why it failed; empty for one that succeeded."""
    issued_us: int
    finished_us: int


@dataclass(frozen=True, slots=True)
class Committed:
    """The change is durable; `version` is the new one."""

    version: int


@dataclass(frozen=True, slots=True)
class Replayed:
    """Nothing was written: an action of the commit is known; this is its recorded outcome."""

    action: RecordedAction


@dataclass(frozen=True, slots=True)
class StateRow:
    """A state and its version; version 0 and empty bytes where nothing was committed yet."""

    version: int
    state: bytes
    state_type: str


@dataclass(frozen=True, slots=True)
class IdempotencyRecord:
    """The outcome of a keyed effect."""

    content_hash: bytes
    reply: bytes


@dataclass(frozen=True, slots=True)
class Started:
    """A workflow that was begun: its first lease and the version after its first change."""

    lease: LeaseGrant
    version: int


@dataclass(frozen=True, slots=True)
class PendingStep:
    """A step that was sent and has not ended, as its workflow's holder last recorded it.

    Attributes:
        action_id: UUID of the step's action.
        step_id: the step's id in its workflow.
        target: the node that does it, as `kind` or `kind/name`.
        attempts: how often it was sent.
        issued_us: when it was first sent, in microseconds since the Unix epoch, by the host's wall
            clock.
        left_us: what is left of the time that bounds the step, in microseconds; None without a
            bound.
        retry_us: the time until the next attempt, in microseconds; None while one is under way.
        error: the ErrorDetail of the last failed attempt, serialised; empty before the first
            failure.
    """

    action_id: str
    step_id: str
    target: str
    attempts: int
    issued_us: int
    left_us: int | None = None
    retry_us: int | None = None
    error: bytes = b""


@dataclass(frozen=True, slots=True)
class OpenWork:
    """Unfinished work found at start or at expiry of its lease."""

    key: str
    holder: str
    lease_remaining_us: int = field(default=0)


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """A process that serves a node, as the registry keeps it."""

    node: str
    """`kind/name`."""
    instance: str
    """Tells the node's processes apart; empty for the only process of a store."""
    store_id: str
    """The store that holds the node's state; empty for a node that has none."""
    registrar: str
    """The instance of the orchestrator at which the process holds its stream open."""
    payload: bytes
    registered_us: int = 0
    """When the process was registered first; given by the store."""


@dataclass(frozen=True, slots=True)
class NodeEntries:
    """All that are registered, by node and instance; `revision` grows with each change."""

    revision: int
    entries: Sequence[NodeEntry]
