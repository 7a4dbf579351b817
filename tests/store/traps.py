"""The nineteen traps of a durable core, and the tests that each would fail without its guard.

`python -m tests.store.traps` runs them all.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True)
class Trap:
    """One of them: what goes wrong without a guard, and who shows that it does not."""

    goes_wrong: str
    tests: tuple[str, ...]
    """`file::test`, the file from `tests/` on."""
    elsewhere: str = ""
    """For which back ends there is nothing to show, and why."""


TRAPS: Final = {
    1: Trap(
        "A fence that is read beside the row it guards lets a stale write in during a takeover.",
        (
            "store/test_postgres_writers.py::test_fence_is_checked_under_the_lock_of_its_row",
            "store/test_postgres_writers.py::test_first_guard_of_a_workflow_is_checked_against_a_rival",
            "store/test_commit.py::test_stale_fence_writes_nothing",
            "store/test_commit.py::test_guard_is_not_raised_by_a_write_that_fails",
        ),
        "SQLite and memory: one writer, so a check and its write have nothing between them.",
    ),
    2: Trap(
        "A takeover that begins at epoch 0 again fails all later actions, or lets old ones in.",
        (
            "store/test_leases.py::test_fence_and_epoch_survive_release_and_takeover",
            "store/test_leases.py::test_takeover_after_expiry_has_a_higher_fence",
            "store/test_leases.py::test_leases_fences_and_time_survive_a_restart",
            "store/test_traps.py::test_takeover_goes_on_at_the_epoch_it_finds",
        ),
    ),
    3: Trap(
        "Check, write and count as three calls let several writers pass one check.",
        (
            "store/test_traps.py::test_of_many_who_saw_one_version_one_writes",
            "store/test_commit.py::test_state_intents_and_action_are_one_commit",
            "store/test_commit.py::test_other_version_writes_nothing",
        ),
    ),
    4: Trap(
        "One number for term and version makes a holder's parallel steps shut each other out.",
        (
            "store/test_commit.py::test_parallel_folds_of_the_holder_all_count",
            "store/test_history.py::test_rollback_writes_old_content_as_a_new_version",
        ),
    ),
    5: Trap(
        "A repeat whose first answer was lost is refused for the epoch that it used up itself.",
        (
            "store/test_commit.py::test_replay_comes_before_fence_and_version",
            "store/test_commit.py::test_known_action_with_other_content_is_refused",
            "store/test_commit.py::test_same_action_at_the_same_time_is_executed_once",
            "store/test_commit.py::test_recorded_failure_is_replayed",
            "store/test_postgres_writers.py::test_same_new_action_on_two_stores_is_executed_once",
            "store/test_postgres_writers.py::test_repeat_that_met_its_own_first_run_is_replayed",
        ),
    ),
    6: Trap(
        "A holder that trusts its own clock, or a late renewal, writes beside its successor.",
        (
            "store/test_leases.py::test_late_renew_fails_even_if_nobody_took_over",
            "store/test_commit.py::test_issuer_refuses_writes_under_an_ended_lease",
            "store/test_clock_jumps.py::test_clock_of_a_client_does_not_enter_a_server",
            "unit/lease/test_keeper.py::"
            "test_work_stops_before_a_lease_that_cannot_be_renewed_runs_out",
            "unit/lease/test_keeper.py::test_leases_are_renewed_in_batches",
        ),
    ),
    7: Trap(
        "A time that stands still in a transaction, or steps back, revives what has ended.",
        (
            "store/test_postgres_writers.py::test_time_goes_on_while_a_lock_is_waited_for",
            "store/test_leases.py::test_backward_clock_revives_no_lease_and_stops_none",
            "store/test_clock_jumps.py::test_idle_store_sees_leases_end_after_a_step_back",
            "store/test_clock_jumps.py::test_step_back_while_nobody_has_it_open",
        ),
    ),
    8: Trap(
        "A reader that follows a sequence loses what got its number first and committed last.",
        (
            "store/test_traps.py::test_event_that_commits_late_is_not_overtaken",
            "store/test_postgres_writers.py::test_reader_of_events_misses_none",
        ),
        "SQLite and memory: one writer gives numbers in the order of its commits.",
    ),
    9: Trap(
        "A transaction that reads first and then writes fails at once when another one writes.",
        ("store/test_traps.py::test_commit_waits_for_another_programs_write",),
        "PostgreSQL and memory: they have no such upgrade of a lock.",
    ),
    10: Trap(
        "Libraries of SQLite before 3.51.3 corrupt a file when a checkpoint races a commit.",
        ("store/test_traps.py::test_library_that_corrupts_files_is_refused",),
        "PostgreSQL and memory: no SQLite.",
    ),
    11: Trap(
        "On a network file system two hosts write one file without seeing each other.",
        (
            "store/test_sqlite_file.py::test_network_file_systems_are_refused",
            "store/test_sqlite_file.py::test_local_and_unknown_file_systems_are_not",
            "store/test_bad_files.py::test_network_file_system_is_refused_at_the_door",
        ),
        "PostgreSQL: where its files lie is its own affair.",
    ),
    12: Trap(
        "An intent that kills its worker comes back for ever where only failures count.",
        (
            "store/test_intents.py::test_poisoned_intent_that_kills_its_workers_dies",
            "store/test_intents.py::test_a_worker_that_dies_of_an_intent_ends_it",
            "store/test_intents.py::test_last_attempt_ends_in_the_dead_letters",
        ),
    ),
    13: Trap(
        "Strict priorities starve the lowest.",
        (
            "store/test_intents.py::test_low_priority_is_not_starved",
            "store/test_intents.py::test_priorities_come_in_their_order",
        ),
    ),
    14: Trap(
        "Intents that wait for their time stand before those that are ready.",
        (
            "store/test_intents.py::test_waiting_intents_do_not_hide_ready_ones",
            "store/test_sqlite_plans.py::test_queue_statements_use_their_index",
        ),
    ),
    15: Trap(
        "A worker that was given up completes what another one is just doing.",
        (
            "store/test_intents.py::test_vanished_worker_loses_its_claim",
            "store/test_intents.py::test_foreign_claim_tokens_are_stale",
            "store/test_clock_jumps.py::test_claims_end_once_and_not_an_hour_late",
        ),
    ),
    16: Trap(
        "Intents of one aggregate overtake each other, or wait for one that is dead.",
        (
            "store/test_intents.py::test_order_key_holds_back_what_came_later",
            "store/test_intents.py::test_dead_intent_lets_those_behind_it_go",
            "store/test_traps.py::test_intent_added_while_the_one_before_ends_is_not_forgotten",
            "store/test_postgres_writers.py::test_order_key_never_blocks_for_ever_between_two_stores",
        ),
    ),
    17: Trap(
        "A claim whose plan runs its sub-select again takes more than it asked for.",
        (
            "store/test_postgres_writers.py::test_two_stores_claim_each_intent_once",
            "store/test_intents.py::test_no_intent_is_handed_out_twice_at_once",
        ),
        "SQLite and memory: one writer claims.",
    ),
    18: Trap(
        "`n += await f()` reads n before the wait and loses what others added meanwhile.",
        ("store/test_traps.py::test_no_sum_is_read_before_what_it_waits_for",),
    ),
    19: Trap(
        "Renewals that stand behind bulk work while the disk stalls come too late.",
        ("store/test_batching.py::test_leases_go_before_what_waited_longer",),
    ),
}


def node_ids() -> list[str]:
    """All tests of the table, as pytest names them."""
    return [
        f"{ROOT / 'tests' / file}::{name}"
        for trap in TRAPS.values()
        for file, _, name in (test.partition("::") for test in trap.tests)
    ]


if __name__ == "__main__":
    sys.exit(pytest.main([*dict.fromkeys(node_ids()), *sys.argv[1:]]))
