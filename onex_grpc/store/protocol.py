"""The one door to durable state. Every call is one atomic transaction, durable when it returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from onex_grpc.store.event_positions import EventSpan
    from onex_grpc.store.model import (
        ActionRecord,
        Cancellation,
        Checkpoint,
        ClaimedIntent,
        Commit,
        Committed,
        Guard,
        HistoryEntry,
        IdempotencyRecord,
        IntentState,
        LeaseGrant,
        LeaseRequest,
        LoggedAction,
        NewEvent,
        NodeEntries,
        NodeEntry,
        OpenWork,
        PendingStep,
        QueueStats,
        RecordedAction,
        Replayed,
        Rollback,
        Started,
        StateRow,
        StoredEvent,
        StoredIntent,
    )
    from onex_grpc.store.retention import Purged, PurgePosition, Retention


class LeaseStore(Protocol):
    """Leases over workflows: one holder at a time, fences that only grow."""

    async def acquire_lease(self, request: LeaseRequest) -> LeaseGrant:
        """Grants a lease with a new fence; raises LeaseConflictError (with retry_after) while
        another one holds it.
        """
        ...

    async def acquire_and_start(self, request: LeaseRequest, start: Commit) -> Started | Replayed:
        """Grants a lease and commits the first change under it, in one transaction.

        `start.guard` is None (it becomes the new lease's). A known action of `start` gives Replayed
        and no lease.
        Raises as acquire_lease and commit.
        """
        ...

    async def steal_lease(self, request: LeaseRequest) -> LeaseGrant:
        """Grants a lease with a new fence whoever holds the last one, whose writes are refused from
        then on; for an operator.
        """
        ...

    async def renew_leases(self, guards: Sequence[Guard]) -> Sequence[LeaseGrant | None]:
        """Prolongs leases by their ttl, all in one transaction; None for each that has ended or
        expired.
        """
        ...

    async def renew_lease(self, guard: Guard) -> LeaseGrant:
        """Prolongs one lease; raises LeaseExpiredError, StaleFenceError or LeaseValidationError."""
        ...

    async def release_lease(self, guard: Guard) -> int:
        """Ends a lease and returns the epoch; one that has already ended is no error. Raises
        LeaseValidationError.
        """
        ...

    async def verify_lease(self, guard: Guard) -> LeaseGrant:
        """The lease if it is the current one; raises as renew_lease."""
        ...

    async def get_lease(self, workflow_id: str) -> LeaseGrant:
        """The last lease issued (remaining 0 where it ended); raises LeaseNotFoundError."""
        ...


class StateStore(Protocol):
    """States by key, versioned, with history, actions and intents in the same transaction."""

    async def commit(self, change: Commit) -> Committed | Replayed:
        """The only writer of state.

        In this order, in one transaction: a known action gives Replayed (other content raises
        AlreadyExistsError); the
        guard is checked and raised (StaleFenceError, LeaseValidationError for the same fence with
        another lease id,
        LeaseExpiredError where this store issued the lease and it ended); then the version
        (EpochMismatchError).
        """
        ...

    async def checkpoint(self, change: Checkpoint) -> Committed | Replayed:
        """Pins the current version under a name and returns it; checks in the order of `commit`.

        Raises as `commit`; HistoryNotFoundError where there is no version yet, AlreadyExistsError
        for a name that pins another one.
        """
        ...

    async def rollback(self, change: Rollback) -> Committed | Replayed:
        """Writes the content of an earlier version as a new one; checks in the order of `commit`.

        Raises as `commit`; HistoryNotFoundError where the version or checkpoint is not kept.
        """
        ...

    async def prune_history(self, key: str, keep: int, age_us: int) -> int:
        """Removes old versions of a state and returns how many.

        What stays: the newest `keep` (1 at least) of those older than `age_us`, all that are
        younger, and all that a checkpoint pins.
        """
        ...

    async def get_state_at(self, key: str, to: int | str) -> StateRow:
        """A version of a state, or the one that a checkpoint pins; raises HistoryNotFoundError."""
        ...

    async def list_history(self, key: str, after: int, limit: int) -> Sequence[HistoryEntry]:
        """The kept versions of a state above `after`, in their order."""
        ...

    async def list_actions(self, scope: str, after: int, limit: int) -> Sequence[LoggedAction]:
        """The recorded actions of a workflow by sequence: the audit trail."""
        ...

    async def raise_guard(self, guard: Guard) -> None:
        """Makes a lease's fence known to this store before an effect; raises StaleFenceError,
        LeaseValidationError.
        """
        ...

    async def known_fence(self, workflow_id: str) -> Guard | None:
        """The highest fence that this store has seen for a workflow."""
        ...

    async def get_state(self, key: str) -> StateRow:
        """The state of a key."""
        ...

    async def find_action(self, scope: str, action_id: str) -> RecordedAction | None:
        """The recorded outcome of an action."""
        ...

    async def record_failure(self, action: ActionRecord, error: bytes, guard: Guard | None) -> None:
        """Records the final failure of an action, so that a repeat gets the same error."""
        ...

    async def list_open(self, prefix: str) -> Sequence[OpenWork]:
        """Unfinished work whose key begins with `prefix`, with the holder of its lease."""
        ...

    async def record_pending(
        self, guard: Guard, steps: Sequence[PendingStep], ended: Sequence[str] = ()
    ) -> None:
        """Record pending steps of a workflow under its lease, in place of what was recorded of the
        same actions, and forget those (action ids) that have ended. The epoch stays.

        The last of several records of one action counts; an action that has ended is not recorded.

        Raises:
            StaleFenceError, LeaseValidationError, LeaseExpiredError: as `commit` does for its
                guard; nothing is written.
        """
        ...

    async def list_pending(self, workflow_id: str) -> Sequence[PendingStep]:
        """Return the pending steps of a workflow in the order of their first recording; left_us and
        retry_us as of now (never below 0).

        Steps of a workflow that has ended may be among them until a sweep removes them.
        """
        ...


class IntentStore(Protocol):
    """The queue of intents that commits have emitted."""

    async def claim_intents(
        self, worker: str, limit: int, visibility_us: int, accepts: Collection[str] = ()
    ) -> Sequence[ClaimedIntent]:
        """Hands out up to `limit` intents by priority and age; counts the attempt.

        Only those whose route is empty or among `accepts`; all where that is empty. However many
        of other routes wait, they cost nothing.
        """
        ...

    async def complete_intents(self, claim_tokens: Sequence[str]) -> Sequence[bool]:
        """Marks intents executed; False for each claim that was no longer held."""
        ...

    async def fail_intent(
        self, claim_token: str, error: bytes, retry_in_us: int | None
    ) -> IntentState | None:
        """Ends an attempt: PENDING again after a wait, or DEAD (None, or no attempts left); None
        for a stale claim.
        """
        ...

    async def extend_intents(
        self, claim_tokens: Sequence[str], visibility_us: int
    ) -> Sequence[bool]:
        """Prolongs the visibility timeout of claims; False for each that was no longer held."""
        ...

    async def release_intents(self, claim_tokens: Sequence[str]) -> None:
        """Gives claims back at once; the attempt does not count."""
        ...

    async def take_back_intents(self, worker: str, keep: Sequence[str]) -> None:
        """Frees the claims of a worker that it does not hold any more, all but those of `keep`.

        Their attempts count: it may have died of one of them.
        """
        ...

    async def redrive_intents(self, intent_ids: Sequence[str]) -> int:
        """Gives dead intents all their attempts again; returns how many of these were dead."""
        ...

    async def redrive_dead(self, limit: int) -> int:
        """Gives the oldest dead intents all their attempts again; returns how many."""
        ...

    async def cancel_intents(
        self, intent_ids: Sequence[str], guard: Guard | None = None
    ) -> Cancellation:
        """Ends intents that nobody has taken, and tells of those that it left as they were.

        The guard is checked and raised first, in the same transaction; raises as `commit`.
        """
        ...

    async def list_intents(
        self, state: IntentState, after: int, limit: int
    ) -> Sequence[StoredIntent]:
        """Intents of one state by sequence."""
        ...

    async def queue_stats(self) -> QueueStats:
        """Counts of the queue."""
        ...

    async def wait_intents(self, timeout: float | None, accepts: Collection[str] = ()) -> None:
        """Returns when an intent that such a worker may take may have become ready: a commit
        emitted one, a wait or visibility timeout ended.
        """
        ...


class EventStore(Protocol):
    """The append-only log of events."""

    async def publish_event(self, event: NewEvent) -> StoredEvent:
        """Adds an event; the same id with the same payload returns the first, with another one
        AlreadyExistsError.
        """
        ...

    async def find_event(self, topic: str, event_id: str) -> StoredEvent | None:
        """The event of an id."""
        ...

    async def read_events(self, topic: str, after: int, limit: int) -> Sequence[StoredEvent]:
        """Return the next events of a topic, by sequence; none is left out.

        Raises:
            EventPositionExpiredError: when events after this sequence were purged.
        """
        ...

    async def event_span(self, topic: str) -> EventSpan:
        """Return what the log has of a topic."""
        ...

    async def wait_events(self, topic: str, after: int) -> None:
        """Return when the topic has, or had, an event after this sequence."""
        ...


class IdempotencyStore(Protocol):
    """Outcomes of keyed effects."""

    async def find_outcome(self, key: str) -> IdempotencyRecord | None:
        """The recorded outcome of a key."""
        ...

    async def record_outcome(self, key: str, record: IdempotencyRecord) -> IdempotencyRecord:
        """Records an outcome; returns the one that was there first."""
        ...


class RegistryStore(Protocol):
    """The processes that serve the nodes of the mesh."""

    async def register_node(self, entry: NodeEntry) -> NodeEntry:
        """Adds a process, or replaces the entry of the same node and instance (and keeps its
        registered_us); returns what is stored.

        Raises:
            StoreInUseError: another entry of the node has another store_id, or the entry that would
                be replaced has; its context names `instance`, `registrar` and `store_id` of that
                one.
        """
        ...

    async def unregister_node(self, node: str, instance: str, registrar: str) -> bool:
        """Removes a process; False where it is not there or another registrar's meanwhile."""
        ...

    async def forget_nodes(self, registrar: str) -> int:
        """Removes all processes of a registrar; returns how many."""
        ...

    async def list_nodes(self) -> NodeEntries:
        """All that are registered, whoever their registrar is."""
        ...

    async def wait_nodes(self, after: int) -> None:
        """Returns when the registry has a higher revision than `after`."""
        ...


class ReplicaStore(Protocol):
    """The processes of one node that share a store; in SQLite and in memory there is one."""

    @property
    def instance(self) -> str:
        """The name of this process among those that share the store; empty where it is alone."""
        ...

    async def is_gone(self, instance: str) -> bool:
        """Whether the process of another instance has certainly ended, or lost the database.

        It writes no more until it has locked its name anew: the lock is that of its connection.
        """
        ...

    async def wait_release(self, workflow_id: str, timeout: float) -> None:
        """Returns when a lease may have been given up, after `timeout` seconds at the latest."""
        ...


class SecretStore(Protocol):
    """Small values of the process itself, such as its signing key."""

    async def get_or_create_secret(self, name: str, fresh: bytes) -> bytes:
        """The stored value; stores `fresh` where there is none."""
        ...


class Housekeeping(Protocol):
    """Removal of what is over, so that a store does not grow for ever."""

    async def purge(self, retention: Retention, position: PurgePosition, limit: int) -> Purged:
        """Removes one portion, of at most `limit` rows a table looked at, in one transaction.

        A sweep begins at the position zero and ends with `done`. Sequences of intents and events
        are not used again.
        """
        ...


class Store(
    LeaseStore,
    StateStore,
    IntentStore,
    EventStore,
    IdempotencyStore,
    RegistryStore,
    ReplicaStore,
    SecretStore,
    Housekeeping,
    Protocol,
):
    """All of it, over one database."""

    async def close(self) -> None:
        """Finishes what was accepted and closes."""
        ...
