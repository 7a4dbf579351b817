"""What must be durable when, by the kind of a step.

Before every effect step, all results so far are durable. Results of compute steps may lag behind
further compute steps, since repeating them does no harm; those of reducer steps behind reducer
steps, too, since a reducer answers a repeat from its own record of the action. What is built on an
output must not meet another one later: so a reducer step begins when the results of compute and
effect steps are durable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from onex_grpc.workflow.journal import Journal
    from onex_grpc.workflow.step import StepOutcome

# How long the result of a compute or reducer step may wait for company before it is written: a
# crash repeats no more than this much finished work.
_LAG: Final = 0.1


async def before_step(journal: Journal, kind: str) -> None:
    """Returns when a step of this kind may begin; raises what kept results from being written."""
    if kind == "effect":
        await journal.barrier()
    elif kind == "reducer":
        await journal.barrier_of_uncertain()


def fold_step(journal: Journal, kind: str, outcome: StepOutcome) -> None:
    """Adds what a step came to."""
    # A reducer keeps no record of a refusal: repeated, the action might be allowed.
    if kind == "reducer" and outcome.error is None:
        journal.fold_repeatable(outcome.result, outcome.record)
    else:
        journal.fold(outcome.result, outcome.record)


def write_behind(journal: Journal, kind: str) -> None:
    """Sees to it that what was folded becomes durable while other steps run."""
    if kind == "effect":
        journal.write_soon()
    else:
        journal.write_within(_LAG)
