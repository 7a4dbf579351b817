"""Several processes of one node over one PostgreSQL: killed, stopped, cut off from the database."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from signal import SIGCONT, SIGSTOP
from typing import TYPE_CHECKING

import psycopg
import pytest

from onex.v1 import (
    action_pb2,
    event_pb2,
    event_pb2_grpc,
    lease_pb2,
    lease_pb2_grpc,
    orchestrator_pb2,
    orchestrator_pb2_grpc,
    reducer_pb2,
    reducer_pb2_grpc,
)
from onex_grpc.contract import data
from onex_grpc.errors import AlreadyExistsError, DatabaseConnectionError, UnavailableError
from onex_grpc.rpc.client import Mesh
from onex_grpc.testing.process import NodeProcess
from orders.v1 import orders_pb2
from servers.supervisor import free_ports
from tests.store.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(90)

NODES = '''
import asyncio
import time
from pathlib import Path

from onex.v1 import node_pb2
from onex_grpc.node import NodeCompute, NodeOrchestrator, NodeReducer
from onex_grpc.reducer.model import Reduction
from orders.v1 import orders_pb2


class Conductor(NodeOrchestrator):
    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")


class Worker(NodeCompute):
    """Works until there is a file that says that it is finished."""

    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")

    def register_algorithms(self, registry):
        registry.register("work", work)
        registry.register("tell", tell)


class Ledger(NodeReducer[orders_pb2.Order]):
    """Counts the changes of an entity in the status of an order."""

    descriptor = node_pb2.NodeDescriptor(name="main", version="1.0.0")
    state_type = orders_pb2.Order

    def transition(self, state, action):
        state.status += 1
        return Reduction(state)


async def work(data):
    print("working", flush=True)
    with Path("calls").open("a") as calls:
        print("call", file=calls)
    while not Path("finish").exists():
        await asyncio.sleep(0.01)
    return "worked"


async def tell(data):
    """Tells each time something else."""
    await work(data)
    return str(time.monotonic_ns())
'''
SETTINGS = """
store = "{store}"
drain_grace = 0.2
[addresses]
"compute/main" = "127.0.0.1:{ports[0]}"
"orchestrator" = ["127.0.0.1:{ports[1]}", "127.0.0.1:{ports[2]}", "127.0.0.1:{ports[3]}"]
[lease]
ttl = {ttl}
floor = 0.1
"""
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the tests of this file."""
    server = PostgresServer()
    yield server
    server.stop()


class House:
    """The processes of a test, in one folder.

    Attributes:
        worker: does the work that workflows wait for.
        name: of the orchestrator, and of the reducer: no other test has it.
    """

    def __init__(self, folder: Path, store: str, ttl: float) -> None:
        self.folder = folder
        self.name = f"test-{next(_numbers)}"
        self._stack = AsyncExitStack()
        self._ports = free_ports(4)
        (folder / "house.py").write_text(NODES)
        settings = SETTINGS.format(store=store, ports=self._ports, ttl=ttl)
        (folder / "onex.toml").write_text(settings)
        self.worker = NodeProcess("house:Worker", folder=folder, port=self._ports[0])

    async def open(self) -> None:
        await self._stack.enter_async_context(self.worker)

    async def close(self) -> None:
        self.finish()
        await self._stack.aclose()

    async def conductor(self, number: int, instance: str = "") -> NodeProcess:
        """Starts the first, second or third process of the orchestrator."""
        return await self._start("Conductor", instance, self._ports[1 + number])

    async def ledger(self) -> NodeProcess:
        """Starts one more process of the reducer."""
        return await self._start("Ledger", "", 0)

    async def _start(self, node: str, instance: str, port: int) -> NodeProcess:
        options = ("--name", self.name, *(("--instance", instance) if instance else ()))
        process = NodeProcess(f"house:{node}", folder=self.folder, options=options, port=port)
        return await self._stack.enter_async_context(process)

    def mesh(self, *processes: NodeProcess) -> Mesh:
        """A client of these processes, as of one node."""
        address = ",".join(process.address for process in processes)
        mesh = Mesh({processes[0].node.partition("/")[0]: address})
        self._stack.push_async_callback(mesh.close)
        return mesh

    def orchestrator(
        self, *processes: NodeProcess
    ) -> orchestrator_pb2_grpc.OrchestratorNodeServiceStub:
        """An outside client of these orchestrators."""
        stub = orchestrator_pb2_grpc.OrchestratorNodeServiceStub
        return self.mesh(*processes).stub(stub, "orchestrator")

    async def working(self) -> None:
        """Returns when a step has been begun that was not waited for before."""
        await asyncio.wait_for(self.worker.output_line("working"), 15)

    def calls(self) -> int:
        """How often work was begun."""
        return len((self.folder / "calls").read_text().splitlines())

    def finish(self) -> None:
        """Lets the work end."""
        (self.folder / "finish").touch()


@asynccontextmanager
async def opened(folder: Path, store: str, ttl: float = 30.0) -> AsyncIterator[House]:
    """A house whose lease lasts for `ttl` seconds."""
    house = House(folder, store, ttl)
    await house.open()
    try:
        yield house
    finally:
        await house.close()


def contract(
    algorithm: str = "work", workflow_id: str = "w"
) -> orchestrator_pb2.ModelContractOrchestrator:
    """A workflow of one step, which works until the house says that it is finished."""
    asked = orchestrator_pb2.ModelContractOrchestrator(
        correlation_id=str(uuid.uuid4()), workflow_id=workflow_id
    )
    config = asked.workflow_config
    config.coordination_type = orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL
    step = config.steps.add(step_id="work", target_node="compute/main")
    step.compute.algorithm_config.algorithm_type = algorithm
    step.compute.input_data.CopyFrom(data.pack([1]))
    return asked


async def ask(
    client: orchestrator_pb2_grpc.OrchestratorNodeServiceStub, workflow_id: str = "w"
) -> orchestrator_pb2.ModelOrchestratorOutput:
    """What the workflow comes to."""
    return await client.ExecuteOrchestration(contract(workflow_id=workflow_id), timeout=60)


def result(output: orchestrator_pb2.ModelOrchestratorOutput) -> object:
    """What the step came to."""
    (step,) = output.orchestration_result.step_results
    return data.unpack(step.output)


async def test_workflow_of_another_process_is_followed(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with opened(tmp_path, postgres.address) as house:
        one, other = await house.conductor(0), await house.conductor(1)
        first = asyncio.create_task(ask(house.orchestrator(one)))
        await house.working()
        second = asyncio.create_task(ask(house.orchestrator(other)))
        done, _ = await asyncio.wait((first, second), timeout=0.5)
        assert not done
        with pytest.raises(AlreadyExistsError):
            await house.orchestrator(other).ExecuteOrchestration(contract("sum"), timeout=10)
        house.finish()
        finished = time.monotonic()
        outputs = await asyncio.wait_for(asyncio.gather(first, second), 20)
        # The one was told that the other one is done, and did not wait for a lease of 30 s.
        assert time.monotonic() - finished < 5
        assert outputs[0] == outputs[1]
        assert result(outputs[0]) == "worked"


async def test_workflow_of_a_killed_process_goes_on_at_once_where_it_is_asked_for(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with opened(tmp_path, postgres.address) as house:
        one, other = await house.conductor(0), await house.conductor(1)
        first = asyncio.create_task(ask(house.orchestrator(one)))
        await house.working()
        await one.kill()
        with pytest.raises(UnavailableError):
            await first
        killed = time.monotonic()
        again = asyncio.create_task(ask(house.orchestrator(other)))
        await house.working()
        # Its lease lasts for 30 s, but the store's lock has proved it gone.
        assert time.monotonic() - killed < 5
        house.finish()
        assert result(await again) == "worked"


async def test_workflow_of_a_process_that_is_killed_while_it_is_followed_goes_on_soon(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with opened(tmp_path, postgres.address) as house:
        one, other = await house.conductor(0), await house.conductor(1)
        first = asyncio.create_task(ask(house.orchestrator(one)))
        await house.working()
        seconds = [asyncio.create_task(ask(house.orchestrator(other))) for _ in range(3)]
        # All ask, and have looked again after one second.
        await asyncio.wait(seconds, timeout=1.5)
        killed = time.monotonic()
        await one.kill()
        with pytest.raises(UnavailableError):
            await first
        await house.working()
        # Its lease would last for another 30 s.
        assert time.monotonic() - killed < 5
        house.finish()
        assert [result(await second) for second in seconds] == ["worked"] * 3


async def test_workflow_of_a_process_that_is_killed_between_commit_and_answer_is_run(
    tmp_path: Path,
) -> None:
    server = PostgresServer()
    try:
        async with opened(tmp_path, server.address) as house:
            one, other = await asyncio.gather(*(house.conductor(number) for number in range(2)))
            with psycopg.connect(server.address, autocommit=True) as rival:
                # The server commits, and does not say so.
                rival.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
                rival.execute("SELECT pg_reload_conf()")
                first = asyncio.create_task(ask(house.orchestrator(one)))
                async with asyncio.timeout(20):
                    while True:
                        found = rival.execute(
                            "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
                        )
                        if found.fetchone() is not None:
                            break
                        await asyncio.sleep(0.005)
                await one.kill()
                rival.execute("ALTER SYSTEM RESET synchronous_standby_names")
                rival.execute("SELECT pg_reload_conf()")
            with pytest.raises(UnavailableError):
                await first
            again = asyncio.create_task(ask(house.orchestrator(other)))
            await asyncio.wait_for(house.working(), 5)
            house.finish()
            assert result(await again) == "worked"
            assert house.calls() == 1
    finally:
        server.stop()


async def test_workflows_of_a_killed_process_are_taken_over_once_by_two_at_once(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with opened(tmp_path, postgres.address) as house:
        one, *others = await asyncio.gather(*(house.conductor(number) for number in range(3)))
        names = [f"w{number}" for number in range(10)]
        first = [asyncio.create_task(ask(house.orchestrator(one), name)) for name in names]
        for _ in names:
            await house.working()
        await one.kill()
        await asyncio.gather(*first, return_exceptions=True)
        clients = [house.orchestrator(other) for other in others]
        again = [asyncio.create_task(ask(client, name)) for name in names for client in clients]
        for _ in names:
            await house.working()
        house.finish()
        outputs = await asyncio.gather(*again)
        assert outputs[::2] == outputs[1::2]
        assert [result(output) for output in outputs] == ["worked"] * 20
        assert house.calls() == 20


async def test_process_that_is_stopped_hands_its_workflows_over(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with opened(tmp_path, postgres.address) as house:
        one, other = await house.conductor(0), await house.conductor(1)
        first = asyncio.create_task(ask(house.orchestrator(one)))
        await house.working()
        second = asyncio.create_task(ask(house.orchestrator(other)))
        # Both ask; then neither the lease of 30 s is waited for, nor the look after one second.
        await asyncio.wait((second,), timeout=1.5)
        stopped = time.monotonic()
        await one.stop()
        with pytest.raises(UnavailableError):
            await first
        await house.working()
        assert time.monotonic() - stopped < 5
        house.finish()
        assert result(await second) == "worked"


async def test_workflow_of_a_killed_process_goes_on_although_nobody_asks(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with opened(tmp_path, postgres.address, ttl=1.0) as house:
        one, other = await house.conductor(0), await house.conductor(1)
        first = asyncio.create_task(ask(house.orchestrator(one)))
        await house.working()
        await one.kill()
        with pytest.raises(UnavailableError):
            await first
        await house.working()
        house.finish()
        output = await house.orchestrator(other).ExecuteOrchestration(contract(), timeout=20)
        assert result(output) == "worked"


async def test_instance_that_starts_again_goes_on_at_once(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with opened(tmp_path, postgres.address) as house:
        one, other = await house.conductor(0, "pod-0"), await house.conductor(1, "pod-1")
        first = asyncio.create_task(ask(house.orchestrator(one)))
        await house.working()
        await one.kill()
        with pytest.raises(UnavailableError):
            await first
        again = await house.conductor(0, "pod-0")
        await house.working()
        house.finish()
        for process in (again, other):
            output = await house.orchestrator(process).ExecuteOrchestration(contract(), timeout=20)
            assert result(output) == "worked"


async def test_process_that_was_stopped_finds_another_holder(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with opened(tmp_path, postgres.address, ttl=1.0) as house:
        one, other = await house.conductor(0), await house.conductor(1)
        first = asyncio.create_task(ask(house.orchestrator(one)))
        await house.working()
        one.send_signal(SIGSTOP)
        # Its connection, and with it its lock, are as they were: it is the lease that ends.
        second = asyncio.create_task(ask(house.orchestrator(other)))
        await house.working()
        one.send_signal(SIGCONT)
        house.finish()
        outputs = await asyncio.wait_for(asyncio.gather(first, second), 20)
        assert outputs[0] == outputs[1]
        assert result(outputs[0]) == "worked"


async def test_action_sent_to_two_processes_at_once_counts_once(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with opened(tmp_path, postgres.address) as house:
        processes = await asyncio.gather(*(house.conductor(number) for number in range(2)))
        leases = house.mesh(processes[0]).stub(lease_pb2_grpc.LeaseServiceStub, "orchestrator")
        wanted = lease_pb2.AcquireLeaseRequest(
            workflow_id="w", holder="somebody", request_id=str(uuid.uuid4())
        )
        lease = (await leases.AcquireLease(wanted)).lease
        sent = orchestrator_pb2.ExecuteActionRequest(
            workflow_id="w", fence=lease.fence, lease_token=lease.token
        )
        sent.action.action_id = str(uuid.uuid4())
        sent.action.action_type = action_pb2.ACTION_TYPE_DELEGATE_TASK
        sent.action.lease_id = lease.lease_id
        sent.action.correlation_id = str(uuid.uuid4())
        sent.action.issued_at.GetCurrentTime()
        sent.action.target_node = "compute/main"
        asked = sent.action.command_payload.compute
        asked.algorithm_config.algorithm_type = "tell"
        asked.input_data.CopyFrom(data.pack([1]))
        clients = [house.orchestrator(process) for process in processes]
        sending = [
            asyncio.ensure_future(client.ExecuteAction(sent, timeout=20)) for client in clients
        ]
        for _ in clients:
            await house.working()
        house.finish()
        # Its node was asked twice, with one id; what came first is the answer to both.
        replies = await asyncio.gather(*sending)
        assert replies[0] == replies[1]
        workflows = house.mesh(processes[1]).stub(
            orchestrator_pb2_grpc.WorkflowServiceStub, "orchestrator"
        )
        found = await workflows.GetWorkflow(orchestrator_pb2.GetWorkflowRequest(workflow_id="w"))
        assert [step.output for step in found.state.steps] == [replies[0].result]


async def test_client_of_several_processes_survives_one_of_them(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with opened(tmp_path, postgres.address) as house:
        processes = [await house.conductor(0), await house.conductor(1)]
        client = house.orchestrator(*processes)
        asking = asyncio.create_task(ask(client))
        await house.working()
        # Whichever runs it: both are killed in turn, and the call is answered all the same.
        for index, victim in enumerate(list(processes)):
            await victim.kill()
            processes[index] = await house.conductor(index)
        house.finish()
        assert result(await asking) == "worked"


async def test_database_that_goes_away_and_returns(tmp_path: Path) -> None:
    server = PostgresServer()
    try:
        async with opened(tmp_path, server.address, ttl=2.0) as house:
            one = await house.conductor(0)
            client = house.orchestrator(one)
            first = asyncio.create_task(ask(client))
            await house.working()
            server.halt()
            asked = contract()
            asked.workflow_id = "another"
            with pytest.raises(DatabaseConnectionError):
                await client.ExecuteOrchestration(asked, timeout=20)
            house.finish()
            with pytest.raises(DatabaseConnectionError):
                await first
            server.start()
            back = time.monotonic()
            states = orchestrator_pb2_grpc.WorkflowServiceStub
            workflows = house.mesh(one).stub(states, "orchestrator")
            # Nobody asks for it any more; it goes on by itself.
            async with asyncio.timeout(30):
                await ended(workflows)
            assert time.monotonic() - back < 20
            assert result(await client.ExecuteOrchestration(contract(), timeout=20)) == "worked"
            assert result(await client.ExecuteOrchestration(asked, timeout=20)) == "worked"
    finally:
        server.stop()


async def ended(workflows: orchestrator_pb2_grpc.WorkflowServiceStub) -> None:
    """Returns when the workflow has ended; a database that is not back yet does not say so."""
    asked = orchestrator_pb2.GetWorkflowRequest(workflow_id="w")
    while True:
        try:
            found = await workflows.GetWorkflow(asked)
        except UnavailableError:
            await asyncio.sleep(0.05)
            continue
        if found.state.status == orchestrator_pb2.WORKFLOW_STATUS_COMPLETED:
            return
        await asyncio.sleep(0.05)


async def test_connections_that_are_cut_cost_no_workflow(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with opened(tmp_path, postgres.address, ttl=1.0) as house:
        processes = [await house.conductor(0), await house.conductor(1)]
        asking = asyncio.create_task(ask(house.orchestrator(*processes)))
        await house.working()
        with psycopg.connect(postgres.address, autocommit=True) as connection:
            for _ in range(5):
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                    "WHERE application_name LIKE 'onex-grpc %'"
                )
        house.finish()
        assert result(await asking) == "worked"


def _has(log: Path, text: str) -> bool:
    return log.exists() and text in log.read_text()


async def said(log: Path, text: str) -> None:
    """Returns when a process has logged this."""
    async with asyncio.timeout(20):
        while True:
            if _has(log, text):
                return
            await asyncio.sleep(0.02)


async def test_database_that_is_down_at_start_is_waited_for(tmp_path: Path) -> None:
    server = PostgresServer()
    try:
        async with opened(tmp_path, server.address) as house:
            server.halt()
            starting = asyncio.create_task(house.ledger())
            log = tmp_path / "house-Ledger.log"
            await said(log, "waiting up to")
            server.start()
            await asyncio.wait_for(starting, 20)
    finally:
        server.stop()


async def test_process_that_waits_for_its_database_can_be_stopped(tmp_path: Path) -> None:
    (tmp_path / "house.py").write_text(NODES)
    nowhere = f"postgresql://onex@/postgres?host={tmp_path}"
    process = NodeProcess("house:Ledger", folder=tmp_path, environment={"ONEX_STORE": nowhere})
    starting = asyncio.create_task(process.start())
    await said(process.log, "waiting up to")
    assert await asyncio.wait_for(process.stop(), 5) == 0
    await asyncio.gather(starting, return_exceptions=True)


async def test_reducers_change_one_entity_together(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with opened(tmp_path, postgres.address) as house:
        processes = [await house.ledger(), await house.ledger()]
        stub = reducer_pb2_grpc.ReducerNodeServiceStub
        clients = [house.mesh(process).stub(stub, "reducer") for process in processes]

        async def act(number: int) -> int:
            asked = reducer_pb2.ModelContractReducer(correlation_id=str(uuid.uuid4()))
            asked.input_data.action = "CHANGE"
            asked.reduction_config.state_key = "k"
            output = await clients[number % 2].ExecuteReduction(asked, timeout=30)
            return output.state_metadata.version

        versions = await asyncio.gather(*(act(number) for number in range(60)))
        assert sorted(versions) == list(range(1, 61))
        # What one has acknowledged, the other shows, although it has an older one in memory.
        for number in range(10):
            version = await act(number)
            key = reducer_pb2.GetStateRequest(state_key="k")
            state = await clients[(number + 1) % 2].GetState(key, timeout=10)
            assert state.version == version
            assert data.unpack_as(state.state, orders_pb2.Order).status == version


async def test_events_published_at_one_process_are_told_by_the_other(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    async with opened(tmp_path, postgres.address) as house:
        processes = [await house.conductor(0), await house.conductor(1)]
        stub = event_pb2_grpc.EventBusServiceStub
        here, there = (house.mesh(process).stub(stub, "orchestrator") for process in processes)
        subscription = here.Subscribe(event_pb2.SubscribeRequest(topic="t"), timeout=20)
        assert (await anext(aiter(subscription))).HasField("started")
        for number in range(3):
            event = event_pb2.Event(
                topic="t",
                key=str(number),
                event_id=str(uuid.uuid4()),
                correlation_id=str(uuid.uuid4()),
                event_type="test",
                data=data.pack(number),
            )
            await there.Publish(event_pb2.PublishRequest(event=event), timeout=10)
        told = [await anext(aiter(subscription)) for _ in range(3)]
        assert [one.event.key for one in told] == ["0", "1", "2"]
        subscription.cancel()
