"""What a worker holds: a delivered intent, from its arrival to the queue's confirmation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from onex.v1 import error_pb2, intent_pb2
from onex_grpc.action.outcome import may_pass
from onex_grpc.headers import is_uuid
from onex_grpc.rpc.detail import error_detail, fit, from_detail

if TYPE_CHECKING:
    import asyncio

    from onex_grpc.errors import OnexError


_LEAST: Final = 1024


@dataclass(slots=True, eq=False)
class Work:
    """One delivery in the hands of a worker.

    Attributes:
        delivery: what the queue sent.
        report: what the worker has to say about it; None while it is being executed.
        lost: whether the queue has taken the claim away.
    """

    delivery: intent_pb2.IntentDelivery
    report: intent_pb2.TakeIntentsRequest | None = None
    lost: bool = False
    task: asyncio.Task[None] | None = None
    extension: asyncio.TimerHandle | None = field(default=None, repr=False)

    @property
    def token(self) -> str:
        """The claim token."""
        return self.delivery.claim_token

    def completed(self) -> intent_pb2.TakeIntentsRequest:
        """The report of success."""
        complete = intent_pb2.TakeIntentsComplete(claim_token=self.token)
        return intent_pb2.TakeIntentsRequest(complete=complete)

    def failed(self, error: OnexError, worker: str) -> intent_pb2.TakeIntentsRequest:
        """The report of failure; terminal where a repeat cannot help or must not be."""
        detail = error_detail(
            error, correlation_id=self.delivery.intent.correlation_id, node=worker
        )
        _drop_malformed_ids(detail)
        fail = intent_pb2.TakeIntentsFail(
            claim_token=self.token, error=detail, terminal=not may_pass(from_detail(detail))
        )
        return intent_pb2.TakeIntentsRequest(fail=fail)

    def shorten(self) -> None:
        """Cut the report of a failure to the least, since it was too large for the stream."""
        if self.report is not None and self.report.HasField("fail"):
            fit(self.report.fail.error, _LEAST)

    def extend(self) -> intent_pb2.TakeIntentsRequest:
        """The wish for more time."""
        extend = intent_pb2.TakeIntentsExtend(claim_token=self.token)
        return intent_pb2.TakeIntentsRequest(extend=extend)

    def stop_extending(self) -> None:
        """Ends the timer that asks for more time."""
        if self.extension is not None:
            self.extension.cancel()
            self.extension = None


def _drop_malformed_ids(detail: error_pb2.ErrorDetail) -> None:
    """Clear what is no correlation id: the queue would refuse the report, however often it came."""
    if not is_uuid(detail.correlation_id):
        detail.ClearField("correlation_id")
    for cause in detail.causes:
        _drop_malformed_ids(cause)
