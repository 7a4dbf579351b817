"""Several processes of one node over one PostgreSQL: killed, stopped, cut off from the database."""

from __future__ import annotations

import asyncio
import time
import uuid
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
from onex_grpc.errors import AlreadyExistsError, UnavailableError
from orders.v1 import orders_pb2
from tests.mesh.replica_house import ask, contract, opened, result
from tests.store.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the tests of this file."""
    server = PostgresServer()
    yield server
    server.stop()


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


def _start_of(
    request: orchestrator_pb2.ExecuteActionRequest,
) -> orchestrator_pb2.ExecuteActionRequest:
    """Return the action that starts the workflow of another one."""
    start = orchestrator_pb2.ExecuteActionRequest()
    start.CopyFrom(request)
    start.action.action_id = str(uuid.uuid4())
    start.action.action_type = action_pb2.ACTION_TYPE_START_WORKFLOW
    start.action.epoch = 0
    start.action.target_node = "orchestrator"
    start.action.command_payload.state.CopyFrom(data.pack("begun"))
    return start


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
        await clients[0].ExecuteAction(_start_of(sent))
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
