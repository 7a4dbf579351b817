"""The holder's side of leases: renewing them in time, and stopping in time where that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from onex_grpc.context import LeaseClaim
from onex_grpc.errors import LeaseExpiredError
from onex_grpc.lease.clock import holder_clock
from onex_grpc.store.model import Guard, LeaseGrant

if TYPE_CHECKING:
    from onex_grpc.store.protocol import LeaseStore

_RENEW_AFTER: Final = 1 / 3
_MARGIN: Final = 1 / 10
# Leases due this soon are renewed along, so that many make few transactions.
_SLACK: Final = 1 / 6

_log = logging.getLogger(__name__)

SignToken = Callable[[LeaseGrant], str]
OnLost = Callable[[LeaseExpiredError], None]


class HeldLease:
    """A lease in the hands of this process; work under it must stop at `stop_at` (holder_clock)."""

    __slots__ = ("_on_lost", "claim", "due_at", "guard", "lost", "stop_at", "ttl")

    def __init__(self, claim: LeaseClaim, ttl: float, on_lost: OnLost) -> None:
        self.claim = claim
        self.guard = Guard(claim.workflow_id, claim.lease_id, claim.fence)
        self.ttl = ttl
        self.lost = False
        self.due_at = 0.0
        self.stop_at = 0.0
        self._on_lost = on_lost

    def extend(self, sent_at: float, remaining: float) -> None:
        """Counts from when the request was sent, since the store's answer may have taken long."""
        self.due_at = sent_at + min(remaining, self.ttl) * _RENEW_AFTER
        self.stop_at = sent_at + remaining - self.ttl * _MARGIN

    def lose(self) -> None:
        """Tells the worker, once, that its right to work has ended."""
        if not self.lost:
            self.lost = True
            self._on_lost(self.error())

    def check(self) -> None:
        """Raises LeaseExpiredError where work under the lease must stop."""
        if self.lost or holder_clock() >= self.stop_at:
            raise self.error()

    def error(self) -> LeaseExpiredError:
        """Why work stops."""
        return LeaseExpiredError(
            f"the lease over workflow {self.guard.workflow_id} was not renewed in time",
            context={"workflow_id": self.guard.workflow_id, "fence": str(self.guard.fence)},
        )


class LeaseKeeper:
    """Renews all leases of one process at a third of their ttl, in batches.

    One timer serves them all; holding and dropping a lease costs no task.
    """

    def __init__(self, store: LeaseStore, sign: SignToken) -> None:
        self._store = store
        self._sign = sign
        self._held: dict[Guard, HeldLease] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._wake_at = 0.0
        self._renewing: asyncio.Task[None] | None = None
        self._closed = False

    def hold(self, grant: LeaseGrant, sent_at: float, on_lost: OnLost) -> HeldLease:
        """Keeps a lease, asked for at `sent_at` (holder_clock), until it is dropped or lost."""
        claim = LeaseClaim(grant.workflow_id, grant.lease_id, grant.fence, self._sign(grant))
        held = HeldLease(claim, grant.ttl_us / 1e6, on_lost)
        held.extend(sent_at, grant.remaining_us / 1e6)
        self._held[held.guard] = held
        self._wake(held.due_at)
        return held

    def drop(self, held: HeldLease) -> None:
        """Stops renewing a lease; its release is the business of the holder's last commit."""
        self._held.pop(held.guard, None)

    async def close(self) -> None:
        """Stops renewing; the leases run out, or this node's next process takes them over."""
        self._closed = True
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)

    def _wake(self, at: float) -> None:
        if self._closed or (self._timer is not None and self._wake_at <= at):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._wake_at = at
        delay = max(0.0, at - holder_clock())
        self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = holder_clock()
        for held in [held for held in self._held.values() if now >= held.stop_at]:
            self.drop(held)
            held.lose()
        if not self._held:
            return
        busy = self._renewing is not None and not self._renewing.done()
        due = [held for held in self._held.values() if now >= held.due_at - held.ttl * _SLACK]
        if due and not busy:
            self._renewing = asyncio.create_task(self._renew(due))
            busy = True
        # While a renewal is under way, only the end of a lease matters; its answer wakes again.
        self._wake(min(held.stop_at if busy else held.due_at for held in self._held.values()))

    async def _renew(self, due: list[HeldLease]) -> None:
        sent_at = holder_clock()
        try:
            grants = await self._store.renew_leases([held.guard for held in due])
        except Exception:
            # The leases may still be ours: try again until their holder has to stop.
            _log.exception("renewing %d leases failed", len(due))
            for held in due:
                held.due_at = sent_at + held.ttl * _SLACK
        else:
            for held, grant in zip(due, grants, strict=True):
                self._settle(held, grant, sent_at)
        if self._held:
            self._wake(min(held.due_at for held in self._held.values()))

    def _settle(self, held: HeldLease, grant: LeaseGrant | None, sent_at: float) -> None:
        if held.guard not in self._held:
            return
        if grant is None:
            self.drop(held)
            held.lose()
            return
        held.extend(sent_at, grant.remaining_us / 1e6)
        claim = held.claim
        held.claim = LeaseClaim(claim.workflow_id, claim.lease_id, claim.fence, self._sign(grant))
