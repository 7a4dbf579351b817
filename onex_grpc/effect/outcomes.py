"""Recorded outcomes of keyed effects whose targets do not record them themselves."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from onex.v1 import common_pb2
from onex_grpc.effect.refusal import interrupted, key_reused
from onex_grpc.effect.target import Outcome
from onex_grpc.errors import NodeUnavailableError
from onex_grpc.store.model import IdempotencyRecord

if TYPE_CHECKING:
    from onex_grpc.effect.operation import EffectRequest
    from onex_grpc.store.protocol import Store


class Outcomes:
    """Outcomes in the node's own store, by target and key."""

    def __init__(self, store: Store) -> None:
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

    async def begin(self, request: EffectRequest) -> int | Outcome:
        """Notes durably that an effect begins which must not be repeated; returns the attempt's
        number, or the outcome that has been recorded meanwhile.

        Raises:
            OutcomeUnknownError: when an earlier attempt began and its end was never noted, since it
                was interrupted or its process died.
            NodeUnavailableError: when another process of the node is at it.
        """
        # Nobody else has the same bytes: two processes that begin at once see who was first.
        own = b"\n".join((self._store.instance.encode(), secrets.token_bytes(8)))
        mark = IdempotencyRecord(request.content_hash, own)
        number = 1
        while True:
            name = _mark("begun", number, request)
            begun = await self._store.find_outcome(name)
            if begun is None:
                begun = await self._store.record_outcome(name, mark)
                if begun == mark:
                    return number
            if not await self._is_undone(request, number):
                await self._refuse_while_under_way(request, begun)
                # Who was at it may have noted the end before it went.
                outcome = await self.find(request)
                if outcome is not None:
                    return outcome
                if not await self._is_undone(request, number):
                    raise interrupted(request)
            number += 1

    async def _is_undone(self, request: EffectRequest, number: int) -> bool:
        return await self._store.find_outcome(_mark("undone", number, request)) is not None

    async def _refuse_while_under_way(
        self, request: EffectRequest, begun: IdempotencyRecord
    ) -> None:
        instance = begun.reply.partition(b"\n")[0].decode()
        if instance in ("", self._store.instance) or await self._store.is_gone(instance):
            return
        raise NodeUnavailableError(
            f"the effect at target {request.target!r} is under way at another process of this "
            f"node, {instance}; ask again for what came of it",
            context={"target": request.target, "instance": instance},
            retry_after=1.0,
        )

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
