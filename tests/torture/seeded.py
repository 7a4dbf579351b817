"""A bug to be found: stores whose guard lets the writes of former holders through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.store.lease_rules import check_guard
from onex_grpc.store.postgres import leases as in_postgres
from onex_grpc.store.sqlite import leases as in_sqlite

if TYPE_CHECKING:
    from onex_grpc.store import Guard
    from onex_grpc.store.lease_rules import LeaseRow


def accept_older_fences() -> None:
    """Breaks the guard in this process for good."""
    for module in (in_sqlite, in_postgres):
        module.check_guard = _without_the_fence  # type: ignore[attr-defined]


def _without_the_fence(row: LeaseRow | None, guard: Guard, now_us: int) -> bool:
    if row is not None and guard.fence < row.fence:
        return False
    return check_guard(row, guard, now_us)
