"""A workflow whose lease an operator steals, rolls back and gives back, over processes."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from contextlib import AsyncExitStack
from signal import SIGSTOP
from typing import TYPE_CHECKING

import pytest

from onex.v1 import (
    action_pb2,
    intent_pb2,
    intent_pb2_grpc,
    lease_pb2,
    lease_pb2_grpc,
    orchestrator_pb2,
    orchestrator_pb2_grpc,
)
from onex_grpc.contract import data
from onex_grpc.errors import UnavailableError
from onex_grpc.rpc.client import Mesh
from onex_grpc.testing.process import NodeProcess
from servers.supervisor import free_ports
from tests.store.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(90)

NODES = '''
import asyncio
from pathlib import Path

from google.protobuf.wrappers_pb2 import StringValue

from onex.v1 import intent_pb2, node_pb2
from onex_grpc.node import NodeCompute, NodeEffect, NodeOrchestrator, NodeReducer
from onex_grpc.reducer.model import Reduction


class Conductor(NodeOrchestrator):
    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")


class Gate(NodeCompute):
    """Waits for a file."""

    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")

    def register_algorithms(self, registry):
        for name in ("go", "end"):
            registry.register(name, waiting(name))


class Wishes(NodeReducer[StringValue]):
    """Wishes that its action is noted."""

    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")
    state_type = StringValue

    def transition(self, state, action):
        intent = intent_pb2.ModelIntent()
        intent.payload.custom.Pack(StringValue(value=f"{action.name} {action.action_id}"))
        return Reduction(StringValue(value=f"{state.value} {action.name}"), [intent])


class Notes(NodeEffect):
    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")

    def register_operations(self, operations):
        operations.add(StringValue, note)


async def note(message, call):
    with Path("noted").open("a") as file:
        file.write(f"{message.value}\\n")
    return ""


def waiting(name):
    async def wait(data):
        while not Path(name).exists():
            await asyncio.sleep(0.01)
        return "passed"

    return wait
'''
SETTINGS = """
{store}
queues = ["reducer/main"]
[addresses]
"orchestrator/main" = "127.0.0.1:{ports[0]}"
"compute/main" = "127.0.0.1:{ports[1]}"
"reducer/main" = "127.0.0.1:{ports[2]}"
"effect/main" = "127.0.0.1:{ports[3]}"
[lease]
ttl = 1.0
floor = 0.1
"""
PLACES = ("Conductor", "Gate", "Wishes", "Notes")


class House:
    """The processes of a test, in one folder, and a client of them."""

    def __init__(self, folder: Path, store: str) -> None:
        self.folder = folder
        ports = free_ports(len(PLACES))
        (folder / "house.py").write_text(NODES)
        (folder / "onex.toml").write_text(SETTINGS.format(store=store, ports=ports))
        kinds = ("orchestrator", "compute", "reducer", "effect")
        at = {f"{kind}/main": f"127.0.0.1:{port}" for kind, port in zip(kinds, ports, strict=True)}
        self._ports = dict(zip(PLACES, ports, strict=True))
        self._stack = AsyncExitStack()
        self.mesh = Mesh(at)
        self.orchestrator = self.mesh.stub(
            orchestrator_pb2_grpc.OrchestratorNodeServiceStub, "orchestrator/main"
        )
        self.workflows = self.mesh.stub(
            orchestrator_pb2_grpc.WorkflowServiceStub, "orchestrator/main"
        )
        self.leases = self.mesh.stub(lease_pb2_grpc.LeaseServiceStub, "orchestrator/main")
        self.queue = self.mesh.stub(intent_pb2_grpc.IntentQueueServiceStub, "reducer/main")

    async def start(self, place: str) -> NodeProcess:
        process = NodeProcess(
            f"house:{place}", folder=self.folder, port=self._ports[place], start_timeout=40.0
        )
        return await self._stack.enter_async_context(process)

    async def close(self) -> None:
        for name in ("go", "end"):
            self.open(name)
        await self.mesh.close()
        await self._stack.aclose()

    def open(self, gate: str) -> None:
        (self.folder / gate).touch()

    async def until(
        self, wanted: Callable[[orchestrator_pb2.GetWorkflowResponse], bool]
    ) -> orchestrator_pb2.GetWorkflowResponse:
        """Returns where the workflow stands, once it is as wanted."""
        request = orchestrator_pb2.GetWorkflowRequest(workflow_id=self.workflow_id)
        async with asyncio.timeout(30):
            while True:
                stand = await self.workflows.GetWorkflow(request)
                if wanted(stand):
                    return stand
                await asyncio.sleep(0.01)

    async def until_queue(
        self, wanted: Callable[[intent_pb2.GetQueueStatsResponse], bool]
    ) -> intent_pb2.GetQueueStatsResponse:
        """Returns the figures of the queue, once it can be reached and they are as wanted."""
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(UnavailableError):
                    stats = await self.queue.GetQueueStats(STATS)
                    if wanted(stats):
                        return stats
                await asyncio.sleep(0.01)

    async def send(
        self, request: orchestrator_pb2.ExecuteActionRequest
    ) -> orchestrator_pb2.ExecuteActionResponse:
        """The reply to an action."""
        return await self.orchestrator.ExecuteAction(request)

    async def repeat(
        self, request: orchestrator_pb2.ExecuteActionRequest
    ) -> orchestrator_pb2.ExecuteActionResponse:
        """The reply to an action, which is sent until a reducer that was down can be reached."""
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(UnavailableError):
                    return await self.send(request)
                await asyncio.sleep(0.01)

    @property
    def workflow_id(self) -> str:
        return self.folder.name

    async def run(self) -> orchestrator_pb2.ModelOrchestratorOutput:
        """What the workflow comes to."""
        return await self.orchestrator.ExecuteOrchestration(self.contract)

    async def run_to_end_gate(self) -> int:
        """Begins the workflow; returns when only its last step is left, with an epoch at which
        only its first one had ended.
        """
        self.contract = contract(self.workflow_id)
        self.running = asyncio.create_task(self.run())
        await self.until_queue(lambda stats: stats.pending > 0)
        first = await self.until(lambda stand: len(stand.state.steps) == 1)
        self.open("go")
        await self.until(lambda stand: len(stand.state.steps) == 3)
        return first.epoch

    async def steal(self, ttl: float) -> lease_pb2.Lease:
        theft = lease_pb2.StealLeaseRequest(
            workflow_id=self.workflow_id,
            holder="operator",
            request_id=str(uuid.uuid4()),
            reason="test",
        )
        theft.ttl.FromMilliseconds(round(ttl * 1000))
        return (await self.leases.StealLease(theft)).lease

    async def release(self, lease: lease_pb2.Lease) -> None:
        await self.leases.ReleaseLease(
            lease_pb2.ReleaseLeaseRequest(
                workflow_id=lease.workflow_id, lease_id=lease.lease_id, fence=lease.fence
            )
        )


STATS = intent_pb2.GetQueueStatsRequest()


def contract(workflow_id: str) -> orchestrator_pb2.ModelContractOrchestrator:
    """A wish, a gate, another wish, another gate."""
    asked = orchestrator_pb2.ModelContractOrchestrator(
        correlation_id=str(uuid.uuid4()), workflow_id=workflow_id
    )
    config = asked.workflow_config
    config.coordination_type = orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL
    for number, gate in enumerate(("go", "end")):
        wish = config.steps.add(step_id=f"wish_{number}", target_node="reducer/main")
        wish.reducer.reduction_config.state_key = workflow_id
        wish.reducer.input_data.action = f"WISH_{number}"
        wait = config.steps.add(step_id=gate, target_node="compute/main")
        wait.compute.algorithm_config.algorithm_type = gate
        wait.compute.input_data.CopyFrom(data.pack(gate))
        wait.timeout.FromSeconds(60)
    return asked


def rollback(lease: lease_pb2.Lease, to: int) -> orchestrator_pb2.ExecuteActionRequest:
    request = orchestrator_pb2.ExecuteActionRequest(
        workflow_id=lease.workflow_id, fence=lease.fence, lease_token=lease.token
    )
    action = request.action
    action.action_id = str(uuid.uuid4())
    action.correlation_id = str(uuid.uuid4())
    action.action_type = action_pb2.ACTION_TYPE_ROLLBACK_STATE
    action.lease_id = lease.lease_id
    action.epoch = lease.epoch
    action.issued_at.GetCurrentTime()
    action.target_node = "orchestrator"
    action.command_payload.rollback.epoch = to
    action.command_payload.rollback.cancel_intents = True
    return request


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the tests of this file."""
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture
async def sqlite_house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path, 'state = "state"')
    try:
        yield house
    finally:
        await house.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    store = 'state = "state"'
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        store = f'store = "{server.address}"'
    opened = House(tmp_path, store)
    try:
        yield opened
    finally:
        await opened.close()


async def test_an_operator_rolls_back_and_the_engine_goes_on(house: House) -> None:
    for place in ("Conductor", "Gate", "Wishes"):
        await house.start(place)
    back_to = await house.run_to_end_gate()
    lease = await house.steal(30.0)
    assert (await house.queue.GetQueueStats(STATS)).pending == 2

    reply = await house.send(rollback(lease, back_to))
    assert (reply.cancellation.cancelled, reply.cancellation.kept) == (1, 0)
    stand = await house.until(lambda stand: True)
    assert (stand.epoch, len(stand.state.steps), stand.state.run) == (reply.epoch, 1, 1)
    await house.release(lease)

    # Nobody asks for it: recovery takes it up.
    await house.until(lambda stand: len(stand.state.steps) == 3)
    house.open("end")
    await house.start("Notes")
    output = await house.run()
    assert output.orchestration_result.status == orchestrator_pb2.WORKFLOW_STATUS_COMPLETED
    stats = await house.until_queue(lambda stats: stats.completed == 2)
    assert (stats.pending, stats.in_flight, stats.dead, stats.cancelled) == (0, 0, 0, 1)
    lines = (house.folder / "noted").read_text().splitlines()
    noted = dict(line.split(" ", 1) for line in lines)
    assert len(lines) == len(noted)
    assert sorted(noted) == ["WISH_0", "WISH_1"]
    trail = await house.workflows.ListActions(
        orchestrator_pb2.ListActionsRequest(workflow_id=house.workflow_id)
    )
    asked = [a.action_id for a in trail.actions if a.target_node == "reducer/main"]
    # wish_0, the wish_1 that was undone, and the one in its place.
    assert len(asked) == 3
    assert noted == {"WISH_0": asked[0], "WISH_1": asked[2]}
    await asyncio.gather(house.running, return_exceptions=True)


async def test_what_a_killed_orchestrator_left_is_cancelled_by_a_repeat(
    sqlite_house: House,
) -> None:
    house = sqlite_house
    conductor = await house.start("Conductor")
    await house.start("Gate")
    wishes = await house.start("Wishes")
    back_to = await house.run_to_end_gate()
    lease = await house.steal(60.0)
    request = rollback(lease, back_to)

    # The reducer does not answer: the rollback is durable, its cancellations are not done.
    wishes.send_signal(SIGSTOP)
    sent = asyncio.create_task(house.send(request))
    await house.until(lambda stand: stand.epoch == lease.epoch + 1)
    await conductor.kill()
    await asyncio.gather(sent, house.running, return_exceptions=True)
    assert isinstance(sent.exception(), UnavailableError)
    await wishes.kill()
    await house.start("Conductor")
    with pytest.raises(UnavailableError):
        await house.send(request)
    wishes = await house.start("Wishes")
    stats = await house.until_queue(lambda stats: True)
    assert (stats.pending, stats.cancelled) == (2, 0)

    reply = await house.repeat(request)
    assert (reply.epoch, reply.cancellation.cancelled) == (lease.epoch + 1, 1)
    stats = await house.queue.GetQueueStats(STATS)
    assert (stats.pending, stats.cancelled) == (1, 1)
    await wishes.kill()
    # All is done and recorded: the reducer is not asked again.
    assert await house.send(request) == reply
