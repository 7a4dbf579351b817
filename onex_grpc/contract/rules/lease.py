"""Rules of lease.proto."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex.v1 import lease_pb2
from onex_grpc.contract.rule import Rule, between, matching, positive, text, uuid
from onex_grpc.contract.rules.common import WORKFLOW_ID

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.message import Message

_WORKFLOW: Final = matching("workflow_id", WORKFLOW_ID)
_LARGEST_FENCE: Final = 2**63 - 1
FENCE: Final = between("fence", 1, _LARGEST_FENCE)
_WISH: Final = (
    _WORKFLOW,
    matching("holder", r"[A-Za-z0-9._:/-]{1,128}"),
    positive("ttl"),
    uuid("request_id"),
)
_PROOF: Final = (_WORKFLOW, uuid("lease_id"), FENCE)

RULES: Final[Mapping[type[Message], Sequence[Rule]]] = {
    lease_pb2.AcquireLeaseRequest: _WISH,
    lease_pb2.StealLeaseRequest: (*_WISH, text("reason", 500)),
    lease_pb2.RenewLeaseRequest: _PROOF,
    lease_pb2.ReleaseLeaseRequest: _PROOF,
    lease_pb2.VerifyLeaseRequest: _PROOF,
    lease_pb2.GetLeaseRequest: (_WORKFLOW,),
}
