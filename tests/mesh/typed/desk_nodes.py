"""Generated nodes as a user writes them: a desk that asks two effects, a stamp and a porter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from desk.v1 import desk_pb2
from desk.v1.desk_onex import (
    DeskIntent,
    DeskReducer,
    PorterEffect,
    PorterIntents,
    StampEffect,
    StampIntents,
)

from onex_grpc.typed import Action, EffectCall, Reduction

if TYPE_CHECKING:
    from collections.abc import Sequence


class Desk(DeskReducer):
    """Has each letter stamped, then carried."""

    def send(
        self, state: desk_pb2.Desk, request: desk_pb2.SendRequest, action: Action
    ) -> Reduction[desk_pb2.Desk, desk_pb2.SendResponse, DeskIntent]:
        state.sent += 1
        letter = request.letter_id
        intents: Sequence[DeskIntent] = [
            StampIntents.stamp(desk_pb2.StampRequest(letter_id=letter), order_key=letter),
            PorterIntents.carry(desk_pb2.CarryRequest(letter_id=letter), order_key=letter),
        ]
        return Reduction(state, desk_pb2.SendResponse(sent=state.sent), intents)


class Stamp(StampEffect):
    """Notes what it stamps."""

    async def stamp(
        self, request: desk_pb2.StampRequest, call: EffectCall
    ) -> desk_pb2.StampResponse:
        note(f"stamped {request.letter_id}")
        return desk_pb2.StampResponse()


class Porter(PorterEffect):
    """Notes what it carries."""

    async def carry(
        self, request: desk_pb2.CarryRequest, call: EffectCall
    ) -> desk_pb2.CarryResponse:
        note(f"carried {request.letter_id}")
        return desk_pb2.CarryResponse()


def note(line: str) -> None:
    with Path("letters.txt").open("a") as letters:
        letters.write(f"{line}\n")
