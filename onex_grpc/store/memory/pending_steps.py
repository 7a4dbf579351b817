"""Steps of open workflows that were sent and have not ended, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.store.memory import states
from onex_grpc.store.memory.tables import Step
from onex_grpc.store.step_rules import rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.memory.tables import Tables
    from onex_grpc.store.memory.transaction import Transaction
    from onex_grpc.store.model import Guard, PendingStep


def record(
    tx: Transaction, guard: Guard, steps: Sequence[PendingStep], ended: Sequence[str]
) -> None:
    """Write pending steps of a workflow and remove those that have ended; the guard comes first."""
    states.raise_guard(tx, guard)
    for action_id in set(ended):
        remove(tx, guard.workflow_id, action_id)
    for row in rows_of(guard.workflow_id, steps, ended, tx.now_us):
        if row.workflow_id not in tx.tables.steps:
            tx.put(tx.tables.steps, row.workflow_id, {})
        table = tx.tables.steps[row.workflow_id]
        known = table.get(row.action_id)
        sequence = known.sequence if known else tx.next_number("step")
        tx.put(table, row.action_id, Step(sequence, row))


def remove(tx: Transaction, workflow_id: str, action_id: str) -> None:
    """Remove the row of an action where there is one."""
    table = tx.tables.steps.get(workflow_id, {})
    if action_id in table:
        tx.remove(table, action_id)
    if workflow_id in tx.tables.steps and not table:
        tx.remove(tx.tables.steps, workflow_id)


def of_workflow(tables: Tables, workflow_id: str, now_us: int) -> Sequence[PendingStep]:
    """Return the pending steps of a workflow in the order of their first recording."""
    table = tables.steps.get(workflow_id, {})
    rows = sorted(table.values(), key=lambda step: step.sequence)
    return [step.row.at(now_us) for step in rows]
