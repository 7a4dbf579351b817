"""Generated orchestrators in processes of their own: killed, stopped, resumed, followed."""

from __future__ import annotations

import asyncio
import socket
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from trips.v1 import trip_pb2
from trips.v1.trip_onex import TripClient

from onex.v1 import (
    action_pb2,
    lease_pb2,
    lease_pb2_grpc,
    orchestrator_pb2,
    orchestrator_pb2_grpc,
)
from onex_grpc.contract import data
from onex_grpc.errors import (
    AlreadyExistsError,
    ContractValidationError,
    DeadlineExceededError,
    LeaseConflictError,
    NodeUnavailableError,
    TransitionError,
    UnimplementedError,
    WorkflowExecutionError,
)
from onex_grpc.rpc.client import Mesh
from onex_grpc.testing.process import NodeProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NODES = '''
import asyncio
import time
from pathlib import Path

from onex_grpc.errors import TransitionError
from onex_grpc.typed import Reduction
from trips.v1 import parts_pb2, trip_pb2
from trips.v1.parts_onex import CarrierEffect, RouteCompute, SeatReducer
from trips.v1.trip_onex import TripOrchestrator


def note(file, text):
    with Path(file).open("a") as lines:
        lines.write(text + "\\n")


class Carrier(CarrierEffect):
    """Writes down each ticket that it sells."""

    async def reserve(self, request, call):
        note("sold", request.ticket)
        return parts_pb2.ReserveResponse(number=Path("sold").read_text().count("\\n"))

    async def give_back(self, request, call):
        note("given_back", request.ticket)
        return parts_pb2.GiveBackResponse()


class Route(RouteCompute):
    """Waits for ever where it is told to hold, once."""

    def plan(self, request):
        hold = Path(f"hold-{request.place}")
        if hold.exists():
            hold.unlink()
            print(f"planning {request.place}", flush=True)
            while not Path(f"go-{request.place}").exists():
                time.sleep(0.01)
        return parts_pb2.PlanResponse(way=f"to {request.place}")

    def weather(self, request):
        yield parts_pb2.WeatherResponse(sky="blue")


class Seat(SeatReducer):
    def take(self, state, request, action):
        state.taken += 1
        state.status = parts_pb2.SEAT_STATUS_TAKEN
        return Reduction(state, parts_pb2.TakeResponse(taken=state.taken))


class Trip(TripOrchestrator):
    async def book(self, request, mesh, workflow):
        trip = request.trip_id
        ways = await asyncio.gather(*(self.way(mesh, f"{trip}-{n}") for n in "abc"))
        first = await mesh.carrier.reserve(parts_pb2.ReserveRequest(ticket=f"{trip}-first"))
        await mesh.route.plan(parts_pb2.PlanRequest(place=f"{trip}-middle"))
        try:
            seat = await mesh.seat.take(parts_pb2.TakeRequest(seat_id=request.seat_id))
        except TransitionError:
            await mesh.carrier.give_back(parts_pb2.GiveBackRequest(ticket=f"{trip}-first"))
            await mesh.route.plan(parts_pb2.PlanRequest(place=f"{trip}-undone"))
            raise
        await mesh.route.plan(parts_pb2.PlanRequest(place=f"{trip}-late"))
        second = await mesh.carrier.reserve(parts_pb2.ReserveRequest(ticket=f"{trip}-second"))
        return trip_pb2.BookResponse(
            text=f"{ways} {first.number} {seat.taken} {second.number} {workflow.new_id('x')}"
        )

    async def way(self, mesh, place):
        planned = await mesh.route.plan(parts_pb2.PlanRequest(place=place))
        await mesh.carrier.reserve(parts_pb2.ReserveRequest(ticket=place))
        return planned.way

    async def book_all(self, request, mesh, workflow):
        await mesh.carrier.reserve(parts_pb2.ReserveRequest(ticket=request.trip_id))
        return trip_pb2.BookAllResponse(text=request.trip_id)

    async def tour(self, request, mesh, workflow):
        for place in request.places:
            if place == "weather":
                async for _ in mesh.route.weather(parts_pb2.WeatherRequest(place=place)):
                    pass
            way = await mesh.route.plan(parts_pb2.PlanRequest(place=place))
            await mesh.carrier.reserve(parts_pb2.ReserveRequest(ticket=place))
            yield trip_pb2.TourResponse(text=way.way)

    async def tours(self, request, mesh, workflow):
        for place in request.places:
            yield trip_pb2.ToursResponse(text=f"{workflow.workflow_id} {place}")


class Changed(Trip):
    async def book(self, request, mesh, workflow):
        await mesh.carrier.reserve(parts_pb2.ReserveRequest(ticket=f"{request.trip_id}-first"))
        return trip_pb2.BookResponse(text="shorter")
'''
GENERATED = Path(__file__).with_name("generated")
KINDS = ("orchestrator", "compute", "effect", "reducer")


@dataclass
class House:
    """The processes of a mesh; the orchestrator is the test's to start and to end."""

    folder: Path
    mesh: Mesh
    route: NodeProcess
    ports: dict[str, int]
    processes: list[NodeProcess] = field(default_factory=list)

    @property
    def trips(self) -> TripClient:
        return TripClient(self.mesh)

    def orchestrator(self, name: str = "Trip") -> NodeProcess:
        return _process(name, self.folder, self.ports["orchestrator"])

    def sold(self) -> list[str]:
        path = self.folder / "sold"
        return sorted(path.read_text().split()) if path.exists() else []

    async def book(self, trip: str, seat: str = "") -> trip_pb2.BookResponse:
        request = trip_pb2.BookRequest(trip_id=trip, seat_id=seat or trip)
        return await self.trips.book(request, timeout=30)

    async def held(self, trip: str, place: str) -> asyncio.Task[trip_pb2.BookResponse]:
        """Books a trip, and returns when its planning of a place is under way."""
        (self.folder / f"hold-{trip}-{place}").touch()
        booking = asyncio.create_task(self.book(trip))
        await self.route.output_line(f"planning {trip}-{place}")
        return booking

    def release(self, place: str) -> None:
        (self.folder / f"go-{place}").touch()


def _process(name: str, folder: Path, port: int) -> NodeProcess:
    paths = {"PYTHONPATH": str(GENERATED)}
    return NodeProcess(f"house:{name}", folder=folder, port=port, environment=paths)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    (tmp_path / "house.py").write_text(NODES)
    async with AsyncExitStack() as resources:
        yield await resources.enter_async_context(_running(tmp_path))


@asynccontextmanager
async def _running(folder: Path) -> AsyncIterator[House]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in KINDS]
    ports = {kind: one.getsockname()[1] for kind, one in zip(KINDS, sockets, strict=True)}
    for one in sockets:
        one.close()
    lines = "".join(f'{kind} = "127.0.0.1:{port}"\n' for kind, port in ports.items())
    (folder / "onex.toml").write_text(f'state = "state"\ndrain_grace = 0.2\n[addresses]\n{lines}')
    mesh = Mesh({kind: f"127.0.0.1:{port}" for kind, port in ports.items()})
    route = _process("Route", folder, ports["compute"])
    carrier = _process("Carrier", folder, ports["effect"])
    seat = _process("Seat", folder, ports["reducer"])
    async with route, carrier, seat:
        yield House(folder, mesh, route, ports)
        await mesh.close()


@pytest.mark.timeout(90)
async def test_wherever_the_orchestrator_is_killed_nothing_is_done_twice(house: House) -> None:
    answers = {}
    orchestrator = house.orchestrator()
    await orchestrator.start()
    for place in ("b", "middle", "late"):
        booking = await house.held(place, place)
        await orchestrator.kill()
        with pytest.raises(NodeUnavailableError):
            await booking
        house.release(f"{place}-{place}")
        orchestrator = house.orchestrator()
        await orchestrator.start()
        answers[place] = await house.book(place)
        assert await house.book(place) == answers[place]
    await orchestrator.stop()
    expected = sorted(
        f"{trip}-{ticket}" for trip in answers for ticket in ("a", "b", "c", "first", "second")
    )
    assert house.sold() == expected
    for trip, answer in answers.items():
        assert answer.text.startswith(str([f"to {trip}-{n}" for n in "abc"]))
        assert answer.text.split()[-3] == "1"


@pytest.mark.timeout(60)
async def test_one_that_is_told_to_stop_leaves_the_rest_to_the_next(house: House) -> None:
    async with house.orchestrator():
        booking = await house.held("t", "middle")
    with pytest.raises(NodeUnavailableError):
        await booking
    house.release("t-middle")
    async with house.orchestrator():
        await house.book("t")
    assert house.sold() == sorted(f"t-{ticket}" for ticket in ("a", "b", "c", "first", "second"))


@pytest.mark.timeout(60)
async def test_what_is_undone_stays_undone_after_a_crash(house: House) -> None:
    async with house.orchestrator() as orchestrator:
        await house.book("one", "seat")
        (house.folder / "hold-two-undone").touch()
        booking = asyncio.create_task(house.book("two", "seat"))
        await house.route.output_line("planning two-undone")
        await orchestrator.kill()
        with pytest.raises(NodeUnavailableError):
            await booking
    house.release("two-undone")
    async with house.orchestrator():
        for _ in range(2):
            with pytest.raises(TransitionError):
                await house.book("two", "seat")
    assert (house.folder / "given_back").read_text().split() == ["two-first"]


@pytest.mark.timeout(60)
async def test_a_changed_handler_is_reported_for_the_workflows_of_the_former(house: House) -> None:
    async with house.orchestrator() as orchestrator:
        booking = await house.held("t", "middle")
        await orchestrator.kill()
        with pytest.raises(NodeUnavailableError):
            await booking
    async with house.orchestrator("Changed"):
        with pytest.raises(WorkflowExecutionError, match="CarrierService/Reserve#"):
            await house.book("t")
    house.release("t-middle")


@pytest.mark.timeout(60)
async def test_responses_leave_one_by_one_and_come_again(house: House) -> None:
    request = trip_pb2.TourRequest(trip_id="t", places=["p", "q", "r"])

    async def told(count: int) -> list[str]:
        texts: list[str] = []
        async for response in house.trips.tour(request, timeout=30):
            texts.append(response.text)
            if len(texts) == count:
                break
        return texts

    (house.folder / "hold-q").touch()
    async with house.orchestrator() as orchestrator:
        assert await told(1) == ["to p"]
        await house.route.output_line("planning q")
        await orchestrator.kill()
    house.release("q")
    async with house.orchestrator():
        joined = await asyncio.gather(told(9), told(9))
        assert joined[0] == joined[1] == await told(9) == ["to p", "to q", "to r"]
        assert house.sold() == ["p", "q", "r"]
        many = house.trips.tours(
            [trip_pb2.ToursRequest(trip_id=trip, places=["x", "y"]) for trip in ("u", "v")]
        )
        assert [one.text async for one in many] == ["u x", "u y", "v x", "v y"]
        last = await house.trips.book_all(
            [trip_pb2.BookAllRequest(trip_id=trip) for trip in ("s1", "s2")]
        )
        assert last.text == "s2"
        assert house.sold() == ["p", "q", "r", "s1", "s2"]
        with pytest.raises(ContractValidationError, match="was empty; send at least one message"):
            await house.trips.book_all([])
        with pytest.raises(ContractValidationError, match="was empty; send at least one message"):
            await anext(house.trips.tours([]))
        weather = house.trips.tour(trip_pb2.TourRequest(trip_id="w", places=["weather"]))
        with pytest.raises(UnimplementedError, match="Weather has a stream in it"):
            await anext(weather)


@pytest.mark.timeout(60)
async def test_both_doors_lead_to_one_workflow(house: House) -> None:
    stub = house.mesh.stub(orchestrator_pb2_grpc.OrchestratorNodeServiceStub, "orchestrator")
    request = trip_pb2.BookRequest(trip_id="t", seat_id="t")
    contract = orchestrator_pb2.ModelContractOrchestrator(
        workflow_id="t", initial_state=data.pack(request)
    )
    async with house.orchestrator():
        with pytest.raises(ContractValidationError, match="trip_id"):
            await house.book("no blanks", "s")
        booking = await house.held("t", "late")
        with pytest.raises(DeadlineExceededError):
            await house.trips.book(request, timeout=0.05)
        with pytest.raises(AlreadyExistsError):
            await house.book("t", "another")
        house.release("t-late")
        answer = await booking
        output = await stub.ExecuteOrchestration(contract)
        contract.workflow_id = "u"
        with pytest.raises(ContractValidationError, match=r"initial_state\.trip_id"):
            await stub.ExecuteOrchestration(contract)
    (response,) = output.orchestration_result.responses
    assert data.unpack_as(response, trip_pb2.BookResponse) == answer


@pytest.mark.timeout(60)
async def test_rolled_back_code_calls_again(house: House) -> None:
    (house.folder / "hold-x").touch()
    request = trip_pb2.TourRequest(trip_id="t", places=["a", "b", "x"])
    async with house.orchestrator():
        leases = house.mesh.stub(lease_pb2_grpc.LeaseServiceStub, "orchestrator")
        orchestrator = house.mesh.stub(
            orchestrator_pb2_grpc.OrchestratorNodeServiceStub, "orchestrator"
        )
        follower = house.trips.tour(request, timeout=30)
        assert [(await anext(follower)).text for _ in range(2)] == ["to a", "to b"]
        await house.route.output_line("planning x")
        back_to = await epoch_with_one_response(house)
        theft = lease_pb2.StealLeaseRequest(
            workflow_id="t", holder="operator", request_id=str(uuid.uuid4()), reason="test"
        )
        lease = (await leases.StealLease(theft)).lease
        await orchestrator.ExecuteAction(rollback(lease, back_to))
        with pytest.raises(LeaseConflictError, match="operator holds the lease"):
            await anext(follower)
        await leases.ReleaseLease(
            lease_pb2.ReleaseLeaseRequest(
                workflow_id="t", lease_id=lease.lease_id, fence=lease.fence
            )
        )
        again = [response.text async for response in house.trips.tour(request, timeout=30)]
        assert again == ["to a", "to b", "to x"]
        # The second place has been undone: its effect has a new key, and happens once more.
        assert house.sold() == ["a", "b", "b", "x"]
    house.release("x")


async def epoch_with_one_response(house: House) -> int:
    workflows = house.mesh.stub(orchestrator_pb2_grpc.WorkflowServiceStub, "orchestrator")
    listed = orchestrator_pb2.ListWorkflowHistoryRequest(workflow_id="t")
    async for each in workflows.ListHistory(listed):
        state = data.unpack_as(each.entry.state, orchestrator_pb2.WorkflowState)
        if len(state.responses) == 1:
            return each.entry.version
    raise AssertionError("no epoch has one response")


def rollback(lease: lease_pb2.Lease, to: int) -> orchestrator_pb2.ExecuteActionRequest:
    request = orchestrator_pb2.ExecuteActionRequest(
        workflow_id="t", fence=lease.fence, lease_token=lease.token
    )
    action = request.action
    action.action_id, action.lease_id = str(uuid.uuid4()), lease.lease_id
    action.correlation_id = str(uuid.uuid4())
    action.action_type = action_pb2.ACTION_TYPE_ROLLBACK_STATE
    action.epoch = lease.epoch
    action.issued_at.GetCurrentTime()
    action.target_node = "orchestrator"
    action.command_payload.rollback.epoch = to
    action.command_payload.rollback.cancel_intents = True
    return request
