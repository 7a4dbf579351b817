"""Makes the fence of a lease known to the node's store before an effect under it."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from onex_grpc.store.model import Guard

if TYPE_CHECKING:
    from onex_grpc.context import LeaseClaim
    from onex_grpc.store.protocol import Store

_WORKFLOWS: Final = 10_000


class Fences:
    """Remembers which guards the store has already, so that each costs one write and no more.

    Where several processes share the store, it is asked each time: another one may have met a newer
    holder.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._raised: OrderedDict[str, Guard] = OrderedDict()

    async def pass_with(self, lease: LeaseClaim) -> None:
        """Raises the fence of a workflow to that of a lease.

        Raises:
            StaleFenceError: when a newer holder was seen.
            LeaseValidationError: for the same fence with another lease.
        """
        guard = Guard(lease.workflow_id, lease.lease_id, lease.fence)
        if self._raised.get(guard.workflow_id) == guard:
            return
        await self._store.raise_guard(guard)
        if self._store.instance:
            return
        known = self._raised.get(guard.workflow_id)
        # A newer holder may have come while this one was being written.
        if known is None or known.fence < guard.fence:
            self._raised[guard.workflow_id] = guard
            self._raised.move_to_end(guard.workflow_id)
            if len(self._raised) > _WORKFLOWS:
                self._raised.popitem(last=False)
