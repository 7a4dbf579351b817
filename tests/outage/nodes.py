"""Nodes whose every effect and change of state is counted, for `onex serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trips.v1 import parts_pb2, trip_pb2
from trips.v1.parts_onex import CarrierEffect, RouteCompute, SeatReducer
from trips.v1.trip_onex import TripOrchestrator

from onex_grpc.errors import UnimplementedError
from onex_grpc.typed import Reduction

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from typing import Never

    from trips.v1.trip_onex import TripMesh

    from onex_grpc.typed import Action, EffectCall, WorkflowCall

SOLD = "sold"
"""File in the working folder of an effect node: a line for each ticket sold."""


class Route(RouteCompute):
    """The compute node."""

    def plan(self, request: parts_pb2.PlanRequest) -> parts_pb2.PlanResponse:
        return parts_pb2.PlanResponse(way=f"to {request.place}")

    def weather(self, request: parts_pb2.WeatherRequest) -> Iterator[parts_pb2.WeatherResponse]:
        yield parts_pb2.WeatherResponse(sky="blue")


class Seat(SeatReducer):
    """The reducer."""

    def take(
        self, state: parts_pb2.Seat, request: parts_pb2.TakeRequest, action: Action
    ) -> Reduction[parts_pb2.Seat, parts_pb2.TakeResponse, Never]:
        state.taken += 1
        state.status = parts_pb2.SEAT_STATUS_TAKEN
        return Reduction(state, parts_pb2.TakeResponse(taken=state.taken))


class Carrier(CarrierEffect):
    """The effect node. To sell a ticket twice costs twice."""

    async def reserve(
        self, request: parts_pb2.ReserveRequest, call: EffectCall
    ) -> parts_pb2.ReserveResponse:
        with Path(SOLD).open("a") as file:  # noqa: ASYNC230 - one line
            file.write(f"{request.ticket}\n")
        return parts_pb2.ReserveResponse(number=1)

    async def give_back(
        self, request: parts_pb2.GiveBackRequest, call: EffectCall
    ) -> parts_pb2.GiveBackResponse:
        raise UnimplementedError("nobody gives a ticket back here")


class Trip(TripOrchestrator):
    """The orchestrator; besides its code it runs graphs of the same three steps."""

    async def book(
        self, request: trip_pb2.BookRequest, mesh: TripMesh, workflow: WorkflowCall
    ) -> trip_pb2.BookResponse:
        way = await mesh.route.plan(parts_pb2.PlanRequest(place=request.trip_id))
        await mesh.seat.take(parts_pb2.TakeRequest(seat_id=request.seat_id))
        await mesh.carrier.reserve(parts_pb2.ReserveRequest(ticket=request.trip_id))
        return trip_pb2.BookResponse(text=way.way)

    async def book_all(
        self, request: trip_pb2.BookAllRequest, mesh: TripMesh, workflow: WorkflowCall
    ) -> trip_pb2.BookAllResponse:
        raise UnimplementedError("one trip at a time here")

    def tour(
        self, request: trip_pb2.TourRequest, mesh: TripMesh, workflow: WorkflowCall
    ) -> AsyncGenerator[trip_pb2.TourResponse, None]:
        raise UnimplementedError("one trip at a time here")

    def tours(
        self, request: trip_pb2.ToursRequest, mesh: TripMesh, workflow: WorkflowCall
    ) -> AsyncGenerator[trip_pb2.ToursResponse, None]:
        raise UnimplementedError("one trip at a time here")
