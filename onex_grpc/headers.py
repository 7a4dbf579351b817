"""Names of the mesh's headers, and what a call carries in them.

All values are ASCII; together, names included, they stay below 1 KiB (gRPC starts to refuse at 8 KiB of metadata).
"""

from __future__ import annotations

from typing import Final

CORRELATION_ID: Final = "onex-correlation-id"
WORKFLOW_ID: Final = "onex-workflow-id"
ACTION_ID: Final = "onex-action-id"
LEASE_ID: Final = "onex-lease-id"
FENCE: Final = "onex-fence"
EPOCH: Final = "onex-epoch"
LEASE_TOKEN: Final = "onex-lease-token"  # noqa: S105 - the name of a header, not a secret
CALLER: Final = "onex-caller"
TRACEPARENT: Final = "traceparent"

MAX_BYTES: Final = 1024
