"""Bugs to be found: ways in which stores let the writes of former holders through, or grant leases
too early.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.store import lease_rules
from onex_grpc.store.postgres import known as of_a_batch
from onex_grpc.store.postgres import leases as in_postgres
from onex_grpc.store.sqlite import leases as in_sqlite

if TYPE_CHECKING:
    from collections.abc import Callable

    from onex_grpc.store import Guard
    from onex_grpc.store.lease_rules import LeaseRow

_EARLY_US: Final = 100_000
_LOCK: Final = " FOR UPDATE"
_check_guard = lease_rules.check_guard
_is_live = lease_rules.LeaseRow.is_live


def plant(bug: str) -> None:
    """Breaks the stores of this process for good; the names are those of BUGS."""
    BUGS[bug]()


def _accept_older_fences() -> None:
    for module in (in_sqlite, in_postgres):
        module.check_guard = _without_the_fence  # type: ignore[attr-defined]


def _without_the_fence(row: LeaseRow | None, guard: Guard, now_us: int) -> bool:
    if row is not None and guard.fence < row.fence:
        return False
    return _check_guard(row, guard, now_us)


def _check_without_a_lock() -> None:
    in_postgres._LOCK_LEASE = in_postgres._LOCK_LEASE.removesuffix(_LOCK)  # type: ignore[misc]
    of_a_batch._LOCK_LEASES = of_a_batch._LOCK_LEASES.removesuffix(_LOCK)  # type: ignore[misc]


def _end_leases_early() -> None:
    lease_rules.LeaseRow.is_live = _is_live_but_shorter  # type: ignore[method-assign]


def _is_live_but_shorter(self: LeaseRow, now_us: int) -> bool:
    return _is_live(self, now_us + _EARLY_US)


BUGS: Final[dict[str, Callable[[], None]]] = {
    "older-fence": _accept_older_fences,
    "no-lock": _check_without_a_lock,
    "early-end": _end_leases_early,
}
"""A guard that accepts older fences; one that is checked without its row's lock (PostgreSQL only);
leases that others may take 100 ms before they end.
"""
