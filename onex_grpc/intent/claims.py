"""Which claims the workers of a queue hold, so that a worker that comes back finds its own."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from onex_grpc.intent.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex.v1 import intent_pb2

    Claims = dict[str, "Claim"]


_MOST_LEFT: Final = 1000
"""Workers that may have vanished for good, whose claims are remembered."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivered intent as the queue remembers it, until it is settled.

    One that was delivered by another process is known by its token alone.
    """

    claim_token: str
    attempt: int = 1
    backoff: Backoff = field(default_factory=Backoff)
    intent_id: str = ""
    target: str = ""
    correlation_id: str = ""

    @classmethod
    def of(cls, token: str, attempt: int, intent: intent_pb2.ModelIntent) -> Claim:
        """The claim of an intent's attempt."""
        return cls(
            token,
            attempt,
            Backoff.of(intent.retry_policy),
            intent.intent_id,
            intent.target,
            intent.correlation_id,
        )


class ClaimLedger:
    """The claims by worker: of its open streams, and of those that broke.

    A stream that breaks says nothing about its worker: the claims stay until their visibility
    timeout. A worker that comes back names those that it still holds.
    """

    def __init__(self) -> None:
        self._open: dict[str, list[Claims]] = {}
        self._left: OrderedDict[str, Claims] = OrderedDict()

    def come_back(self, worker: str, held: Sequence[str], claims: Claims) -> list[str]:
        """Opens a stream with the claims that its worker still holds.

        Args:
            worker: who comes.
            held: the claim tokens that it names.
            claims: gets what is known of them; it is the stream's from now on.

        Returns:
            All claim tokens of the worker, those of its other streams too.
        """
        left = self._left.pop(worker, {})
        claims.update((token, left.get(token, Claim(token))) for token in held)
        streams = self._open.setdefault(worker, [])
        streams.append(claims)
        return [token for stream in streams for token in stream]

    def leave(self, worker: str, claims: Claims) -> None:
        """Closes a stream; what it still has waits for its worker."""
        streams = self._open.get(worker, [])
        # By identity: two streams may hold nothing, and so be equal.
        streams[:] = [stream for stream in streams if stream is not claims]
        if not streams:
            self._open.pop(worker, None)
        if claims:
            self._left.setdefault(worker, {}).update(claims)
            self._left.move_to_end(worker)
            if len(self._left) > _MOST_LEFT:
                # It may still come back: its claims are then known by their tokens alone.
                self._left.popitem(last=False)
