"""Leases, states and actions in memory. Each public function is an operation, or part of one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onex_grpc.errors import LeaseExpiredError, LeaseValidationError, StaleFenceError, StoreError
from onex_grpc.store.commit_rules import check_same, check_version, first_action
from onex_grpc.store.keys import new_id, workflow_key
from onex_grpc.store.lease_rules import (
    LeaseRow,
    check_current,
    check_guard,
    check_release,
    is_repeat,
    is_stolen_before,
)
from onex_grpc.store.memory import intents
from onex_grpc.store.memory.tables import Action, State, Version
from onex_grpc.store.model import (
    Committed,
    HistoryEntry,
    LoggedAction,
    RecordedAction,
    Replayed,
    Started,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.memory.transaction import Transaction
    from onex_grpc.store.model import (
        ActionRecord,
        Checkpoint,
        Commit,
        Guard,
        LeaseGrant,
        LeaseRequest,
    )


def acquire(tx: Transaction, request: LeaseRequest) -> LeaseGrant:
    """Grants a lease with a new fence, or the same one to a repeat of its request."""
    row = tx.tables.leases.get(request.workflow_id)
    if row is None or not is_repeat(row, request, tx.now_us):
        row = _issue(tx, row, request)
    return row.grant(tx.now_us, _epoch(tx, request.workflow_id))


def steal(tx: Transaction, request: LeaseRequest) -> LeaseGrant:
    """Grants a lease with a new fence whoever holds the last one."""
    row = tx.tables.leases.get(request.workflow_id)
    if row is None or not is_stolen_before(row, request, tx.now_us):
        row = _issue(tx, row, request)
    return row.grant(tx.now_us, _epoch(tx, request.workflow_id))


def renew(tx: Transaction, guard: Guard) -> LeaseGrant:
    """Prolongs a lease by its ttl."""
    row = check_current(tx.tables.leases.get(guard.workflow_id), guard, tx.now_us)
    row = replace(row, expires_us=tx.now_us + row.ttl_us)
    tx.put(tx.tables.leases, row.workflow_id, row)
    return row.grant(tx.now_us, _epoch(tx, guard.workflow_id))


def renew_all(tx: Transaction, guards: Sequence[Guard]) -> Sequence[LeaseGrant | None]:
    """Prolongs leases; None for each that cannot be."""
    return [_renew_or_none(tx, guard) for guard in guards]


def release(tx: Transaction, guard: Guard) -> int:
    """Ends a lease; returns the epoch."""
    if check_release(tx.tables.leases.get(guard.workflow_id), guard):
        _end(tx, guard.workflow_id)
    return _epoch(tx, guard.workflow_id)


def raise_guard(tx: Transaction, guard: Guard) -> None:
    """Checks a guard and, where it is news, makes it the highest known of its workflow."""
    row = tx.tables.leases.get(guard.workflow_id)
    if check_guard(row, guard, tx.now_us):
        raised = LeaseRow(guard.workflow_id, guard.fence, guard.lease_id, "", "", 0, None)
        tx.put(tx.tables.leases, guard.workflow_id, raised)


def commit(tx: Transaction, change: Commit) -> Committed | Replayed:
    """Writes one change with all that belongs to it: known actions first, then the guard, then the
    version.
    """
    known = find_known(tx, change.actions)
    return Replayed(known) if known else write(tx, change)


def acquire_and_start(tx: Transaction, request: LeaseRequest, start: Commit) -> Started | Replayed:
    """Grants a lease and writes the first change under it."""
    known = find_known(tx, start.actions)
    if known:
        return Replayed(known)
    lease = acquire(tx, request)
    written = write(tx, replace(start, guard=lease.guard))
    return Started(lease=replace(lease, epoch=written.version), version=written.version)


def record_failure(
    tx: Transaction, action: ActionRecord, error: bytes, guard: Guard | None
) -> None:
    """Records the final failure of an action; one that is known keeps its first outcome."""
    if find_known(tx, (action,)) is None:
        if guard is not None:
            raise_guard(tx, guard)
        _record(tx, action, (b"", error, _epoch(tx, action.scope)), guard)


def write(tx: Transaction, change: Commit) -> Committed:
    """Writes a change whose actions are new."""
    if change.guard is not None:
        raise_guard(tx, change.guard)
    before = tx.tables.states.get(change.key)
    version = before.version if before else 0
    check_version(change, version)
    version += 1
    is_open = (before is not None and before.is_open) if change.open is None else change.open
    tx.put(tx.tables.states, change.key, State(version, change.state, change.state_type, is_open))
    _keep_version(tx, change, version)
    record_successes(tx, change, version)
    if change.intents:
        intents.add(tx, change.intents)
    if change.release and change.guard is not None:
        _end(tx, change.guard.workflow_id)
    return Committed(version)


def find_known(tx: Transaction, actions: Sequence[ActionRecord]) -> RecordedAction | None:
    """The recorded outcome of the first action that is known.

    Raises:
        AlreadyExistsError: the id is known with other content.
    """
    for action in actions:
        known = tx.tables.actions.get((action.scope, action.action_id))
        if known is not None:
            check_same(known.recorded, action)
            return known.recorded
    return None


def record_successes(tx: Transaction, change: Commit | Checkpoint, version: int) -> None:
    """Records the actions of a change with its reply."""
    for action in change.actions:
        _record(tx, action, (change.reply, b"", version), change.guard)


def _keep_version(tx: Transaction, change: Commit, version: int) -> None:
    guard, by = change.guard, first_action(change)
    entry = HistoryEntry(
        version=version,
        kind=change.kind,
        written_us=tx.now_us,
        fence=guard.fence if guard else 0,
        holder=_holder(tx, guard),
        lease_id=guard.lease_id if guard else "",
        action_id=by.action_id if by else "",
        parent_action_id=by.parent_action_id if by else "",
        state_type=change.state_type,
        state=change.state,
    )
    row = Version(tx.next_number("history"), change.key, entry)
    tx.put(tx.tables.history, (change.key, version), row)


def _holder(tx: Transaction, guard: Guard | None) -> str:
    row = None if guard is None else tx.tables.leases.get(guard.workflow_id)
    return "" if row is None else row.holder


def _record(
    tx: Transaction, action: ActionRecord, outcome: tuple[bytes, bytes, int], guard: Guard | None
) -> None:
    reply, error, epoch = outcome
    key = (action.scope, action.action_id)
    if key in tx.tables.actions:
        raise StoreError(f"action_id {action.action_id} stands twice in one commit")
    tx.put(
        tx.tables.actions,
        key,
        Action(
            RecordedAction(
                content_hash=action.content_hash,
                reply=reply,
                error=error,
                epoch=epoch,
                request=action.request,
                issued_us=action.issued_us,
            ),
            LoggedAction(
                sequence=tx.next_number("action"),
                action_id=action.action_id,
                action_type=action.action_type,
                target=action.target,
                correlation_id=action.correlation_id,
                parent_action_id=action.parent_action_id,
                fence=action.fence,
                holder=_holder(tx, guard),
                lease_id=action.lease_id,
                basis=action.epoch,
                epoch=epoch,
                error=error,
                issued_us=action.issued_us,
                finished_us=tx.now_us,
            ),
        ),
    )


def _issue(tx: Transaction, last: LeaseRow | None, request: LeaseRequest) -> LeaseRow:
    row = LeaseRow(
        workflow_id=request.workflow_id,
        fence=tx.next_fence(above=last.fence if last else 0),
        lease_id=new_id(tx.now_us),
        request_id=request.request_id,
        holder=request.holder,
        ttl_us=request.ttl_us,
        expires_us=tx.now_us + request.ttl_us,
    )
    tx.put(tx.tables.leases, row.workflow_id, row)
    return row


def _end(tx: Transaction, workflow_id: str) -> None:
    row = tx.tables.leases.get(workflow_id)
    if row is not None and row.expires_us is not None:
        tx.put(tx.tables.leases, workflow_id, replace(row, expires_us=0))
        tx.changes.released(workflow_id)


def _epoch(tx: Transaction, workflow_id: str) -> int:
    return tx.tables.version(workflow_key(workflow_id))


def _renew_or_none(tx: Transaction, guard: Guard) -> LeaseGrant | None:
    try:
        return renew(tx, guard)
    except (LeaseExpiredError, LeaseValidationError, StaleFenceError):
        return None
