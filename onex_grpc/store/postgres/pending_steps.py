"""Steps of open workflows that were sent and have not ended, in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.store.postgres import leases
from onex_grpc.store.step_rules import StepRow, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.model import Guard, PendingStep
    from onex_grpc.store.postgres.exchange import Exchange
    from onex_grpc.store.postgres.reader import Session
    from onex_grpc.store.postgres.transaction import Transaction

_OF_WORKFLOW: Final = (
    "SELECT workflow_id, action_id, step_id, target, attempts, issued_us, due_us, retry_at_us, "
    "error FROM pending_steps WHERE workflow_id = %s ORDER BY id"
)
_RECORD: Final = (
    "INSERT INTO pending_steps (workflow_id, action_id, step_id, target, attempts, issued_us, "
    "due_us, retry_at_us, error) "
    "SELECT unnest(%b::text[]), unnest(%b::text[]), unnest(%b::text[]), unnest(%b::text[]), "
    "unnest(%b::bigint[]), unnest(%b::bigint[]), unnest(%b::bigint[]), unnest(%b::bigint[]), "
    "unnest(%b::bytea[]) "
    "ON CONFLICT (workflow_id, action_id) DO UPDATE SET step_id = excluded.step_id, "
    "target = excluded.target, attempts = excluded.attempts, issued_us = excluded.issued_us, "
    "due_us = excluded.due_us, retry_at_us = excluded.retry_at_us, error = excluded.error"
)
_FORGET: Final = (
    "DELETE FROM pending_steps USING (SELECT unnest(%b::text[]) AS workflow_id, "
    "unnest(%b::text[]) AS action_id) AS ended "
    "WHERE pending_steps.workflow_id = ended.workflow_id "
    "AND pending_steps.action_id = ended.action_id"
)


class StepChanges:
    """The pending steps that a batch records and forgets: two statements for all its members."""

    __slots__ = ("_ended", "_rows")

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], StepRow] = {}
        self._ended: dict[tuple[str, str], None] = {}

    def record(self, row: StepRow) -> None:
        """Note a row to be written; one that ended before it is removed first."""
        self._rows[row[:2]] = row

    def forget(self, workflow_id: str, action_id: str) -> None:
        """Note a row to be removed."""
        self._rows.pop((workflow_id, action_id), None)
        self._ended[workflow_id, action_id] = None

    def send(self, exchange: Exchange) -> None:
        """Send all, and wait for nothing."""
        if self._ended:
            exchange.execute(_FORGET, [list(column) for column in zip(*self._ended, strict=True)])
            self._ended.clear()
        if self._rows:
            columns = zip(*self._rows.values(), strict=True)
            exchange.execute(_RECORD, [list(column) for column in columns])
            self._rows.clear()


def record(
    tx: Transaction, guard: Guard, steps: Sequence[PendingStep], ended: Sequence[str]
) -> None:
    """Write pending steps of a workflow and remove those that have ended; the guard comes first."""
    leases.raise_guard(tx, guard)
    changes = tx.later().steps
    for action_id in ended:
        changes.forget(guard.workflow_id, action_id)
    for row in rows_of(guard.workflow_id, steps, ended, tx.now_us):
        changes.record(row)


def of_workflow(session: Session, workflow_id: str) -> Sequence[PendingStep]:
    """Return the pending steps of a workflow in the order of their first recording."""
    rows = session.rows(_OF_WORKFLOW, (workflow_id,))
    now_us = session.now_us()
    return [StepRow(*row).at(now_us) for row in rows]
