"""Steps of open workflows that were sent and have not ended, in SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.store.sqlite import leases
from onex_grpc.store.step_rules import StepRow, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from onex_grpc.store.model import Guard, PendingStep
    from onex_grpc.store.sqlite.transaction import Row, Transaction

OF_WORKFLOW: Final = (
    "SELECT workflow_id, action_id, step_id, target, attempts, issued_us, due_us, retry_at_us, "
    "error FROM pending_steps WHERE workflow_id = ? ORDER BY id"
)
RECORD: Final = (
    "INSERT INTO pending_steps (workflow_id, action_id, step_id, target, attempts, issued_us, "
    "due_us, retry_at_us, error) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (workflow_id, action_id) DO UPDATE SET step_id = excluded.step_id, "
    "target = excluded.target, attempts = excluded.attempts, issued_us = excluded.issued_us, "
    "due_us = excluded.due_us, retry_at_us = excluded.retry_at_us, error = excluded.error"
)
FORGET: Final = "DELETE FROM pending_steps WHERE workflow_id = ? AND action_id = ?"


def record(
    tx: Transaction, guard: Guard, steps: Sequence[PendingStep], ended: Sequence[str]
) -> None:
    """Write pending steps of a workflow and remove those that have ended; the guard comes first."""
    leases.raise_guard(tx, guard)
    tx.executemany(FORGET, [(guard.workflow_id, action_id) for action_id in ended])
    tx.executemany(RECORD, rows_of(guard.workflow_id, steps, ended, tx.now_us))


def of_workflow(
    connection: apsw.Connection, workflow_id: str, now_us: int
) -> Sequence[PendingStep]:
    """Return the pending steps of a workflow in the order of their first recording."""
    rows: list[Row] = connection.execute(OF_WORKFLOW, (workflow_id,)).fetchall()
    return [StepRow(*row).at(now_us) for row in rows]
