"""Which claims the workers of a queue hold, so that a worker that comes back finds its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from onex_grpc.intent.backoff import Backoff


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivered intent as the queue remembers it, until it is settled.

    One that was delivered before this process started is known by its token alone.
    """

    claim_token: str
    attempt: int = 1
    backoff: Backoff = field(default_factory=Backoff)
    intent_id: str = ""
    target: str = ""
    correlation_id: str = ""


class ClaimLedger:
    """The claims of broken streams by worker.

    A stream that breaks says nothing about its worker: the claims stay until their visibility
    timeout. A worker that comes back names those that it still holds; the others it never got, or
    it died with them, so that they are free at once.
    """

    def __init__(self) -> None:
        self._orphans: dict[str, dict[str, Claim]] = {}

    def leave(self, worker: str, claims: dict[str, Claim]) -> None:
        """Keeps the claims of a stream that broke."""
        if claims:
            self._orphans.setdefault(worker, {}).update(claims)

    def come_back(self, worker: str, held: list[str]) -> tuple[dict[str, Claim], list[str]]:
        """The claims that a worker goes on with, and the tokens of those that it does not hold."""
        orphans = self._orphans.pop(worker, {})
        kept = {token: orphans.pop(token, Claim(token)) for token in held}
        return kept, list(orphans)
