"""Workflows of three steps, compute, reducer and effect, and callers who wait for them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trips.v1 import parts_pb2, trip_pb2
from trips.v1.trip_onex import TripClient

from onex.v1 import orchestrator_pb2, orchestrator_pb2_grpc
from onex_grpc.contract import data
from onex_grpc.errors import (
    CallCancelledError,
    DeadlineExceededError,
    NotFoundError,
    OnexError,
    UnavailableError,
)
from tests.outage.house import ORCHESTRATOR

if TYPE_CHECKING:
    from onex_grpc.rpc.client import Mesh

_PAUSE_SECONDS: Final = 0.05
_GOES_ON: Final = (
    orchestrator_pb2.WORKFLOW_STATUS_UNSPECIFIED,
    orchestrator_pb2.WORKFLOW_STATUS_RUNNING,
    orchestrator_pb2.WORKFLOW_STATUS_COMPLETED,
)


@dataclass(frozen=True, slots=True)
class Trip:
    """A workflow.

    Attributes:
        name: its id, and the name of its seat and of its ticket.
        is_graph: it is data, else it is code.
        patience: seconds after which its caller gives up, to ask again under the same id.
    """

    name: str
    is_graph: bool
    patience: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a workflow as its caller has seen it.

    Attributes:
        trip: the workflow.
        at: the moment, by `time.monotonic`.
        failure: why it failed; empty where it has not.
    """

    trip: Trip
    at: float
    failure: str = ""


async def travel(mesh: Mesh, trip: Trip, until: float) -> Outcome:
    """Ask for a workflow until it has ended.

    Args:
        mesh: knows the orchestrator.
        trip: the workflow.
        until: when to give up for good, by `time.monotonic`.
    """
    seen = "it was never asked for"
    while (left := until - time.monotonic()) > 0:
        try:
            await _ask(mesh, trip, min(trip.patience, left))
            return Outcome(trip, time.monotonic())
        except (UnavailableError, CallCancelledError, DeadlineExceededError) as fault:
            # The orchestrator is away, or the caller has had enough: does the workflow go on?
            seen = f"{type(fault).__name__}: {fault}"
            if failure := await _failure(mesh, trip):
                return Outcome(trip, time.monotonic(), f"{failure}; the caller got {seen}")
        except OnexError as fault:
            return Outcome(trip, time.monotonic(), f"{type(fault).__name__}: {fault}")
        await asyncio.sleep(_PAUSE_SECONDS)
    return Outcome(trip, time.monotonic(), f"it has not ended; its caller last got {seen}")


async def _ask(mesh: Mesh, trip: Trip, timeout: float) -> None:
    if trip.is_graph:
        stub = mesh.stub(orchestrator_pb2_grpc.OrchestratorNodeServiceStub, ORCHESTRATOR)
        await stub.ExecuteOrchestration(graph(trip.name), timeout=timeout)
    else:
        request = trip_pb2.BookRequest(trip_id=trip.name, seat_id=trip.name)
        await TripClient(mesh).book(request, timeout=timeout)


async def _failure(mesh: Mesh, trip: Trip) -> str:
    workflows = mesh.stub(orchestrator_pb2_grpc.WorkflowServiceStub, ORCHESTRATOR)
    asked = orchestrator_pb2.GetWorkflowRequest(workflow_id=trip.name)
    try:
        state = (await workflows.GetWorkflow(asked, timeout=5)).state
    except (NotFoundError, UnavailableError, CallCancelledError, DeadlineExceededError):
        return ""
    if state.status in _GOES_ON:
        return ""
    status = orchestrator_pb2.WorkflowStatus.Name(state.status)
    return f"{status}: {state.error.message or 'without an error'}"


def graph(name: str) -> orchestrator_pb2.ModelContractOrchestrator:
    """Return the workflow that `nodes.Trip.book` is, as data."""
    contract = orchestrator_pb2.ModelContractOrchestrator(workflow_id=name)
    config = contract.workflow_config
    config.coordination_type = orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL
    plan = config.steps.add(step_id="plan", target_node="compute")
    plan.compute.algorithm_config.algorithm_type = "trips.v1.RouteService/Plan"
    plan.compute.input_data.CopyFrom(data.pack(parts_pb2.PlanRequest(place=name)))
    take = config.steps.add(step_id="take", target_node="reducer")
    take.reducer.reduction_config.state_key = name
    take.reducer.input_data.action = "Take"
    take.reducer.input_data.payload.CopyFrom(data.pack(parts_pb2.TakeRequest(seat_id=name)))
    reserve = config.steps.add(step_id="reserve", target_node="effect")
    operation = reserve.effect.io_operation_config.operation
    operation.custom.Pack(parts_pb2.ReserveRequest(ticket=name))
    return contract
