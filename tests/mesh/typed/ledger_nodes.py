"""Generated nodes as a user writes them: a ledger, its auditor, a tally, and a ledger that dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Never, cast

from ledger.v1 import ledger_pb2
from ledger.v1.audit_onex import AuditEffect, AuditIntents
from ledger.v1.audit_pb2 import NoteRequest, NoteResponse, PurgeRequest, PurgeResponse
from ledger.v1.ledger_onex import LedgerReducer, TallyReducer

from onex_grpc.store.protocol import Store
from onex_grpc.typed import CRITICAL, Action, EffectCall, Intent, Reduction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.container import ModelONEXContainer
    from onex_grpc.store.model import Commit, Committed, Replayed

Account = ledger_pb2.Account
Note = Intent[NoteRequest]


class Ledger(LedgerReducer):
    """Books what it is told to."""

    def book(
        self, state: Account, request: ledger_pb2.BookRequest, action: Action
    ) -> Reduction[Account, ledger_pb2.BookResponse, Note]:
        booked(state, request.amount)
        said = ledger_pb2.BookResponse(balance=state.balance, action_id=action.action_id)
        return Reduction(state, said, [noted(request.account_id, request.amount)])

    def book_all(
        self, state: Account, request: ledger_pb2.BookAllRequest, action: Action
    ) -> Reduction[Account, ledger_pb2.BookAllResponse, Note]:
        booked(state, request.amount)
        return Reduction(state, ledger_pb2.BookAllResponse(balance=state.balance))

    def split(
        self, state: Account, request: ledger_pb2.SplitRequest, action: Action
    ) -> Reduction[Account, Sequence[ledger_pb2.SplitResponse], Note]:
        part = state.balance // max(request.parts, 1)
        booked(state, -part * request.parts)
        return Reduction(state, [ledger_pb2.SplitResponse(amount=part)] * request.parts)

    def exchange(
        self, state: Account, request: ledger_pb2.ExchangeRequest, action: Action
    ) -> Reduction[Account, Sequence[ledger_pb2.ExchangeResponse], Note]:
        booked(state, request.amount)
        coin = ledger_pb2.ExchangeResponse(amount=1, balance=state.balance)
        return Reduction(state, [coin] * request.amount)

    def close(
        self, state: Account, request: ledger_pb2.CloseRequest, action: Action
    ) -> Reduction[Account, ledger_pb2.CloseResponse, Note]:
        state.status = ledger_pb2.ACCOUNT_STATUS_CLOSED
        return Reduction(state, ledger_pb2.CloseResponse(balance=state.balance))


def booked(state: Account, amount: int) -> None:
    state.balance += amount
    state.booked += 1


def noted(account: str, amount: int) -> Note:
    return AuditIntents.note(
        NoteRequest(account_id=account, text=f"booked {amount}"),
        priority=CRITICAL,
        order_key=account,
    )


class Tally(TallyReducer):
    """Counts."""

    def count(
        self, state: ledger_pb2.Tally, request: ledger_pb2.CountRequest, action: Action
    ) -> Reduction[ledger_pb2.Tally, ledger_pb2.CountResponse, Never]:
        state.count += 1
        return Reduction(state, ledger_pb2.CountResponse(count=state.count))


class Audit(AuditEffect):
    """Writes lines to a file of the account's, in the working directory."""

    async def note(self, request: NoteRequest, call: EffectCall) -> NoteResponse:
        write(request)
        return NoteResponse()

    async def purge(self, request: PurgeRequest, call: EffectCall) -> PurgeResponse:
        return PurgeResponse()


def write(request: NoteRequest) -> None:
    with Path(f"{request.account_id}.log").open("a") as log:
        log.write(f"{request.text}\n")


class DyingLedger(Ledger):
    """Dies once, after the commit and before the reply."""

    def __init__(self, container: ModelONEXContainer) -> None:
        store = container.get_service(Store)
        container.register(Store, cast("Store", _DyingStore(store)))
        super().__init__(container)


class _DyingStore:
    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def commit(self, change: Commit) -> Committed | Replayed:
        outcome = await self._store.commit(change)
        die_once()
        return outcome


def die_once() -> None:
    marker = Path("died")
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
