"""What a queue remembers of its workers."""

from __future__ import annotations

from onex_grpc.intent.claims import Claim, ClaimLedger


def test_workers_that_vanish_for_good_do_not_fill_the_memory() -> None:
    ledger = ClaimLedger()
    for number in range(1001):
        claims: dict[str, Claim] = {}
        ledger.come_back(f"effect/pod-{number}", [], claims)
        claims["t"] = Claim("t", attempt=7)
        ledger.leave(f"effect/pod-{number}", claims)
    for worker, attempt in (("effect/pod-0", 1), ("effect/pod-1", 7)):
        back: dict[str, Claim] = {}
        assert ledger.come_back(worker, ["t"], back) == ["t"]
        assert back["t"].attempt == attempt
