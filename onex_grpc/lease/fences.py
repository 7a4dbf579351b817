"""What a process remembers of the fences that it has met."""

from __future__ import annotations

import hmac
from collections import OrderedDict

from onex_grpc.errors import LeaseValidationError, StaleFenceError


class FenceMemory:
    """The highest fence met per workflow, of the workflows met last.

    It only spares work: where something is written, the guard in the store's transaction decides.
    """

    def __init__(self, *, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._highest: OrderedDict[str, tuple[int, str]] = OrderedDict()

    def observe(self, workflow_id: str, fence: int, lease_id: str) -> None:
        """Takes note of a verified lease.

        Raises:
            StaleFenceError: when a newer holder was met before.
            LeaseValidationError: when the same fence was met with another lease id.
        """
        known = self._highest.get(workflow_id)
        if known is not None:
            highest, holder = known
            if fence < highest:
                raise StaleFenceError(
                    f"workflow {workflow_id} has a newer holder: fence {fence} is below {highest};"
                    " stop working on it",
                    context={"workflow_id": workflow_id, "fence": str(fence)},
                )
            if fence == highest:
                if not hmac.compare_digest(holder, lease_id):
                    raise LeaseValidationError(
                        f"fence {fence} of workflow {workflow_id} belongs to another lease"
                    )
                self._highest.move_to_end(workflow_id)
                return
        self._highest[workflow_id] = (fence, lease_id)
        self._highest.move_to_end(workflow_id)
        if len(self._highest) > self._capacity:
            self._highest.popitem(last=False)
