"""What a worker holds: a delivered intent, from its arrival to the queue's confirmation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onex.v1 import intent_pb2
from onex_grpc.action.outcome import may_pass
from onex_grpc.rpc.status import error_detail

if TYPE_CHECKING:
    import asyncio

    from onex_grpc.errors import OnexError


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
        error.node = error.node or worker
        error.correlation_id = error.correlation_id or self.delivery.intent.correlation_id
        fail = intent_pb2.TakeIntentsFail(
            claim_token=self.token, error=error_detail(error), terminal=not may_pass(error)
        )
        return intent_pb2.TakeIntentsRequest(fail=fail)

    def extend(self) -> intent_pb2.TakeIntentsRequest:
        """The wish for more time."""
        extend = intent_pb2.TakeIntentsExtend(claim_token=self.token)
        return intent_pb2.TakeIntentsRequest(extend=extend)

    def stop_extending(self) -> None:
        """Ends the timer that asks for more time."""
        if self.extension is not None:
            self.extension.cancel()
            self.extension = None
