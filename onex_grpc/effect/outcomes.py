"""Recorded outcomes of keyed effects whose targets do not record them themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex.v1 import common_pb2
from onex_grpc.effect.refusal import interrupted, key_reused
from onex_grpc.effect.target import Outcome
from onex_grpc.store.model import IdempotencyRecord

if TYPE_CHECKING:
    from onex_grpc.effect.operation import EffectRequest
    from onex_grpc.store.protocol import IdempotencyStore


class Outcomes:
    """Outcomes in the node's own store, by target and key."""

    def __init__(self, store: IdempotencyStore) -> None:
        self._store = store

    async def find(self, request: EffectRequest) -> Outcome | None:
        """The recorded outcome of the request's key.

        Raises:
            AlreadyExistsError: when the key is that of another effect.
        """
        record = await self._store.find_outcome(_name(request))
        return None if record is None else _replayed(request, record)

    async def record(self, request: EffectRequest, outcome: Outcome) -> Outcome:
        """Records an outcome; returns the one that was there first."""
        reply = outcome.result.SerializeToString()
        fresh = IdempotencyRecord(request.content_hash, reply)
        first = await self._store.record_outcome(_name(request), fresh)
        return outcome if first == fresh else _replayed(request, first)

    async def begin(self, request: EffectRequest) -> int:
        """Notes durably that an effect begins which must not be repeated; returns the attempt's
        number.

        Raises:
            OutcomeUnknownError: when an earlier attempt began and its end was never noted, since it
                was interrupted or its process died.
        """
        mark = IdempotencyRecord(request.content_hash, b"")
        number = 1
        while await self._store.find_outcome(_mark("begun", number, request)) is not None:
            if await self._store.find_outcome(_mark("undone", number, request)) is None:
                raise interrupted(request)
            number += 1
        await self._store.record_outcome(_mark("begun", number, request), mark)
        return number

    async def undo(self, request: EffectRequest, number: int) -> None:
        """Notes durably that an attempt has done nothing, so that another may be made."""
        mark = IdempotencyRecord(request.content_hash, b"")
        await self._store.record_outcome(_mark("undone", number, request), mark)


def _mark(what: str, number: int, request: EffectRequest) -> str:
    # What was begun before an operator redrove the intent no longer counts.
    leave = f"redrive-{request.redrives}/" if request.redrives else ""
    return f"effect-{what}/{leave}{number}/{request.target}/{request.key}"


def _name(request: EffectRequest) -> str:
    return f"effect/{request.target}/{request.key}"


def _replayed(request: EffectRequest, record: IdempotencyRecord) -> Outcome:
    if record.content_hash != request.content_hash:
        raise key_reused(request)
    return Outcome(common_pb2.Data.FromString(record.reply), replayed=True)
