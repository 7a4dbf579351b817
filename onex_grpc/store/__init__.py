"""Durable state: leases, workflow and entity states, actions, intents, events.

`open_store(address)` opens one; `Store` is what it offers. The values are in
`onex_grpc.store.model`.
"""

from onex_grpc.store.batcher import OnBatch
from onex_grpc.store.clock import Clock, wall_clock_us
from onex_grpc.store.keys import new_id, workflow_key
from onex_grpc.store.model import (
    ActionRecord,
    Checkpoint,
    ClaimedIntent,
    Commit,
    Committed,
    Exact,
    FenceOnly,
    Guard,
    HistoryEntry,
    IdempotencyRecord,
    IntentState,
    LeaseGrant,
    LeaseRequest,
    LoggedAction,
    NewEvent,
    NewIntent,
    OpenWork,
    PriorityStats,
    QueueStats,
    RecordedAction,
    Replayed,
    Rollback,
    Started,
    StateRow,
    StoredEvent,
    StoredIntent,
)
from onex_grpc.store.opening import open_store
from onex_grpc.store.protocol import (
    EventStore,
    IdempotencyStore,
    IntentStore,
    LeaseStore,
    SecretStore,
    StateStore,
    Store,
)

__all__ = [
    "ActionRecord",
    "Checkpoint",
    "ClaimedIntent",
    "Clock",
    "Commit",
    "Committed",
    "EventStore",
    "Exact",
    "FenceOnly",
    "Guard",
    "HistoryEntry",
    "IdempotencyRecord",
    "IdempotencyStore",
    "IntentState",
    "IntentStore",
    "LeaseGrant",
    "LeaseRequest",
    "LeaseStore",
    "LoggedAction",
    "NewEvent",
    "NewIntent",
    "OnBatch",
    "OpenWork",
    "PriorityStats",
    "QueueStats",
    "RecordedAction",
    "Replayed",
    "Rollback",
    "SecretStore",
    "Started",
    "StateRow",
    "StateStore",
    "Store",
    "StoredEvent",
    "StoredIntent",
    "new_id",
    "open_store",
    "wall_clock_us",
    "workflow_key",
]
