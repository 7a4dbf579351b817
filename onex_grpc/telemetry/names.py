"""Names of spans' attributes and of metrics, as the OpenTelemetry conventions 1.44.0 have them.

The rpc names are those of the release candidate (docs/rpc of open-telemetry/semantic-conventions).
They stand here, not in an import, because the Python package has them under a private name that
moves when they become stable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from onex_grpc.errors import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.44.0"
SCOPE: Final = "onex_grpc"

RPC_SYSTEM: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_STATUS: Final = "rpc.response.status_code"
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

MESSAGING_SYSTEM: Final = "messaging.system"
MESSAGING_OPERATION: Final = "messaging.operation.name"
MESSAGING_OPERATION_TYPE: Final = "messaging.operation.type"
MESSAGING_DESTINATION: Final = "messaging.destination.name"
MESSAGING_MESSAGE_ID: Final = "messaging.message.id"

SERVICE_NAME: Final = "service.name"
SERVICE_NAMESPACE: Final = "service.namespace"
SERVICE_INSTANCE: Final = "service.instance.id"

CORRELATION_ID: Final = "onex.correlation_id"
NODE_KIND: Final = "onex.node.kind"
NODE_NAME: Final = "onex.node.name"
WORKFLOW_ID: Final = "onex.workflow.id"
WORKFLOW_STEP: Final = "onex.workflow.step"
ACTION_ID: Final = "onex.action.id"
INTENT_ID: Final = "onex.intent.id"
INTENT_TYPE: Final = "onex.intent.type"
FENCE: Final = "onex.lease.fence"
EPOCH: Final = "onex.epoch"
ATTEMPT: Final = "onex.attempt"
REASON: Final = "onex.reason"
"""The reason of the OnexError with which a call was refused or failed."""

SERVER_DURATION: Final = "rpc.server.call.duration"
CLIENT_DURATION: Final = "rpc.client.call.duration"
DURATION_BOUNDS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
"""Upper bounds of the histograms' buckets, in seconds (docs/rpc/rpc-metrics.md)."""

Side = Literal["server", "client"]

_SERVER_ERRORS: Final = frozenset(
    status.name
    for status in (
        Status.UNKNOWN,
        Status.DEADLINE_EXCEEDED,
        Status.UNIMPLEMENTED,
        Status.INTERNAL,
        Status.UNAVAILABLE,
        Status.DATA_LOSS,
    )
)


def is_error(side: Side, status: str) -> bool:
    """Whether a status makes a span an error: at the client all but OK, at the server only its
    own faults.

    A refusal such as FAILED_PRECONDITION is a server doing its work (docs/rpc/grpc.md, table of
    status codes).
    """
    return status != "OK" if side == "client" else status in _SERVER_ERRORS


def rpc_attributes(method: str) -> Mapping[str, str]:
    """The attributes that every span of a method has; build them once per method.

    Args:
        method: the full name without a leading slash, such as `onex.v1.NodeService/DescribeNode`.
    """
    return {RPC_SYSTEM: "grpc", RPC_METHOD: method}
