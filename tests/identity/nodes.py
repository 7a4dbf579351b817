"""Nodes whose requests, responses, states, intents and events hold Anys, packed anew each time."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

from depot.v1 import depot_pb2
from depot.v1.depot_onex import (
    AccountReducer,
    CourierEffect,
    CourierIntents,
    DeliveryOrchestrator,
    ScaleCompute,
)

from onex.v1 import common_pb2, operation_pb2
from onex_grpc.contract.data import pack
from onex_grpc.typed import Action, EffectCall, Intent, Reduction
from tests.identity.labels import label_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from depot.v1.depot_onex import DeliveryMesh

    from onex_grpc.container import ModelONEXContainer
    from onex_grpc.typed import WorkflowCall

LEDGER: Final = "ledger"
NEWS: Final = "news"
CENTS: Final = 7
"""What each booking and each shipment costs."""
_CHANCE: Final = random.SystemRandom()
_LONGEST_PAUSE: Final = 0.02


class Scale(ScaleCompute):
    """Weighs, and remembers what it weighed.

    Attributes:
        weighed: what was weighed, not remembered.
    """

    def __init__(self, container: ModelONEXContainer) -> None:
        super().__init__(container)
        self.weighed: list[str] = []

    def weigh(self, request: depot_pb2.WeighRequest) -> depot_pb2.WeighResponse:
        self.weighed.append(request.parcel_id)
        return depot_pb2.WeighResponse(
            grams=len(request.parcel_id), label=label_of(request.parcel_id)
        )


class Courier(CourierEffect):
    """Writes each shipment into a table, and publishes it."""

    async def ship(
        self, request: depot_pb2.ShipRequest, call: EffectCall
    ) -> depot_pb2.ShipResponse:
        await self.perform(call, LEDGER, shipment(request.parcel_id, request.leg, request.cents))
        await asyncio.sleep(_CHANCE.uniform(0, _LONGEST_PAUSE))
        await self.perform(call, NEWS, event(request.parcel_id))
        return depot_pb2.ShipResponse(label=label_of(request.parcel_id))


class Account(AccountReducer):
    """Books, and has a notice of each booking shipped."""

    def book(
        self, state: depot_pb2.Account, request: depot_pb2.BookRequest, action: Action
    ) -> Reduction[depot_pb2.Account, depot_pb2.BookResponse, Intent[depot_pb2.ShipRequest]]:
        state.cents += request.cents
        state.bookings += 1
        state.last.CopyFrom(label_of(request.parcel_id))
        notice = CourierIntents.ship(ship_request(request.parcel_id, "notice"))
        answer = depot_pb2.BookResponse(bookings=1, label=label_of(request.parcel_id))
        return Reduction(state, answer, [notice])


class Delivery(DeliveryOrchestrator):
    """Delivers with all three, part of it at the same time."""

    async def deliver(
        self, request: depot_pb2.DeliverRequest, mesh: DeliveryMesh, workflow: WorkflowCall
    ) -> depot_pb2.DeliverResponse:
        parcel = request.parcel_id
        await asyncio.gather(
            *(mesh.scale.weigh(weigh_request(f"{parcel}-{part}")) for part in "ab")
        )
        _, booked = await asyncio.gather(
            mesh.courier.ship(ship_request(parcel, "out")),
            mesh.account.book(book_request(request.account_id, parcel)),
        )
        home = ship_request(parcel, "home")
        # What an earlier step has answered comes as it was recorded.
        home.label.named["booked"].CopyFrom(booked.label)
        shipped = await mesh.courier.ship(home)
        return depot_pb2.DeliverResponse(bookings=booked.bookings, label=shipped.label)

    async def track(
        self, request: depot_pb2.TrackRequest, mesh: DeliveryMesh, workflow: WorkflowCall
    ) -> AsyncGenerator[depot_pb2.TrackResponse, None]:
        for leg in request.legs:
            await mesh.courier.ship(ship_request(request.parcel_id, leg))
            # A response that was sent before is compared with the one that is given again.
            yield depot_pb2.TrackResponse(leg=leg, label=label_of(request.parcel_id))


def weigh_request(parcel: str) -> depot_pb2.WeighRequest:
    """Asks for the weight of a parcel."""
    return depot_pb2.WeighRequest(parcel_id=parcel, label=label_of(parcel))


def ship_request(parcel: str, leg: str) -> depot_pb2.ShipRequest:
    """Asks for a shipment."""
    return depot_pb2.ShipRequest(parcel_id=parcel, leg=leg, cents=CENTS, label=label_of(parcel))


def book_request(account: str, parcel: str) -> depot_pb2.BookRequest:
    """Asks for a booking."""
    return depot_pb2.BookRequest(
        account_id=account, parcel_id=parcel, cents=CENTS, label=label_of(parcel)
    )


def deliver_request(account: str, parcel: str) -> depot_pb2.DeliverRequest:
    """Asks for a delivery."""
    return depot_pb2.DeliverRequest(parcel_id=parcel, account_id=account, label=label_of(parcel))


def shipment(parcel: str, leg: str, cents: int) -> operation_pb2.EffectOperation:
    """A row of the ledger."""
    operation = operation_pb2.EffectOperation()
    insert = operation.database.statements.add().insert
    insert.table = "shipments"
    insert.row.columns["parcel"].string_value = parcel
    insert.row.columns["leg"].string_value = leg
    insert.row.columns["cents"].int64_value = cents
    return operation


def event(parcel: str) -> operation_pb2.EffectOperation:
    """The news of a shipment."""
    data: common_pb2.Data = pack(label_of(parcel))
    return operation_pb2.EffectOperation(
        message=operation_pb2.MessagePublish(event_type="SHIPPED", key=parcel, data=data)
    )
