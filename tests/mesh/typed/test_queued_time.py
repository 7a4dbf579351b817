"""The time that a contract gives an effect holds for the intents that ask for it, too."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from ledger.v1 import ledger_pb2
from ledger.v1.audit_onex import AuditEffect
from ledger.v1.audit_pb2 import NoteRequest, NoteResponse, PurgeRequest, PurgeResponse
from ledger.v1.ledger_onex import LedgerClient

from onex_grpc.testing.mesh import LocalMesh
from tests.mesh.typed.ledger_nodes import Ledger

if TYPE_CHECKING:
    from onex_grpc.typed import EffectCall

_SHORT = [replace(rpc, timeout=0.05) for rpc in AuditEffect.contract.rpcs]
attempts: list[str] = []
written = asyncio.Event()


class _Audit(AuditEffect):
    """Hangs once."""

    contract = replace(AuditEffect.contract, rpcs=_SHORT)

    async def note(self, request: NoteRequest, call: EffectCall) -> NoteResponse:
        attempts.append(request.text)
        if len(attempts) == 1:
            await asyncio.Event().wait()
        written.set()
        return NoteResponse()

    async def purge(self, request: PurgeRequest, call: EffectCall) -> PurgeResponse:
        return PurgeResponse()


async def test_an_intent_has_the_time_of_its_rpc() -> None:
    async with LocalMesh([Ledger, _Audit]) as mesh:
        request = ledger_pb2.BookRequest(account_id="a", amount=1)
        await LedgerClient(mesh.mesh).book(request)
        async with asyncio.timeout(10):
            await written.wait()
    assert attempts == ["booked 1", "booked 1"]
