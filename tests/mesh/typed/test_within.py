"""`within=` of a generated client: bounds a step of a workflow, and nothing else has it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from trips.v1 import parts_pb2, trip_pb2
from trips.v1.trip_onex import TripClient

from onex_grpc.errors import ContractValidationError, DeadlineExceededError, UnavailableError
from onex_grpc.testing.mesh import LocalMesh
from tests.outage.nodes import Carrier, Route, Seat, Trip

if TYPE_CHECKING:
    from trips.v1.trip_onex import TripMesh

    from onex_grpc.typed import WorkflowCall


class Closed(Route):
    """Never knows a way."""

    def plan(self, request: parts_pb2.PlanRequest) -> parts_pb2.PlanResponse:
        raise UnavailableError("closed until further notice")


class Hasty(Trip):
    """Tells why it got no way within its time; the time is in the request."""

    async def book(
        self, request: trip_pb2.BookRequest, mesh: TripMesh, workflow: WorkflowCall
    ) -> trip_pb2.BookResponse:
        place = parts_pb2.PlanRequest(place=request.trip_id)
        try:
            await mesh.route.plan(place, timeout=5.0, within=float(request.seat_id))
        except DeadlineExceededError as error:
            known = "outcome_unknown" not in error.context
            return trip_pb2.BookResponse(text=f"{known} {error.causes[0].reason}")
        raise AssertionError("it is closed")


async def test_a_step_ends_within_its_time_and_the_code_goes_on() -> None:
    async with LocalMesh([Hasty, Closed, Seat, Carrier]) as local:
        client = TripClient(local.mesh)
        response = await client.book(trip_pb2.BookRequest(trip_id="t", seat_id="0.3"))
        assert response.text == "True UNAVAILABLE"
        again = await client.book(trip_pb2.BookRequest(trip_id="t", seat_id="0.3"))
        assert again == response


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
async def test_a_time_that_is_none_is_refused(seconds: float) -> None:
    async with LocalMesh([Hasty, Closed, Seat, Carrier]) as local:
        request = trip_pb2.BookRequest(trip_id="t", seat_id=str(seconds))
        with pytest.raises(ContractValidationError, match="within"):
            await TripClient(local.mesh).book(request)


async def test_a_call_from_outside_has_none() -> None:
    async with LocalMesh([Hasty, Closed, Seat, Carrier]) as local:
        request = trip_pb2.BookRequest(trip_id="t", seat_id="1.0")
        with pytest.raises(ContractValidationError, match="give a timeout"):
            await TripClient(local.mesh).book(request, within=1.0)
