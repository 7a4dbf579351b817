"""Workflows whose nodes are away: they wait, tell what for, and go on when the node is back.

The nodes are reached over sockets; only their return can end the waits of an hour.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import StringValue

from onex.v1 import (
    common_pb2,
    compute_pb2_grpc,
    effect_pb2_grpc,
    orchestrator_pb2,
)
from onex_grpc.container import ModelONEXContainer
from onex_grpc.contract import data
from onex_grpc.errors import DeadlineExceededError, OnexError, WorkflowExecutionError
from onex_grpc.lease.keys import load_signing_key
from onex_grpc.lease.settings import LeaseSettings
from onex_grpc.rpc.calls import CallRuntime
from onex_grpc.rpc.server import Server, ServerOptions
from onex_grpc.serve.health import Health, add_health
from onex_grpc.store.opening import open_store
from onex_grpc.store.protocol import Store
from onex_grpc.telemetry import NO_TELEMETRY
from tests.unit.orchestration.callees import Callees
from tests.unit.orchestration.conftest import (
    Addresses,
    Compute,
    Effect,
    House,
    Offered,
    Script,
    SetClock,
    Tally,
    orchestrating,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from onex_grpc.workflow.calls import StepCalls

Contract = orchestrator_pb2.ModelContractOrchestrator
Output = orchestrator_pb2.ModelOrchestratorOutput
Response = orchestrator_pb2.GetWorkflowResponse
Successor: TypeAlias = "Callable[[], AbstractAsyncContextManager[House]]"
KINDS = ("compute", "effect", "reducer")
HOUR = Duration(seconds=3600)


class Nodes:
    """The callees of a house, each at an address of its own at which it is or is not."""

    def __init__(self, script: Script, states: Store) -> None:
        self._script = script
        self._states = states
        self.effect = Effect(script)
        self.ports = {kind: _free_port() for kind in KINDS}
        self._running: dict[str, Server] = {}

    @property
    def addresses(self) -> Addresses:
        return {f"{kind}/main": f"127.0.0.1:{port}" for kind, port in self.ports.items()}

    async def come(self, *kinds: str) -> None:
        """Has nodes serve from now on, and say so."""
        for kind in kinds:
            runtime = CallRuntime(node=f"{kind}/main", telemetry=NO_TELEMETRY)
            server = Server(runtime, ServerOptions(port=self.ports[kind]))
            self._add(kind, server)
            health = Health()
            server.add(add_health, health)
            health.announce(server.services)
            await server.start()
            health.begin_serving()
            self._running[kind] = server

    async def go(self, *kinds: str) -> None:
        for kind in kinds:
            await self._running.pop(kind).drain(0.0)

    async def close(self) -> None:
        await self.go(*self._running)

    def _add(self, kind: str, server: Server) -> None:
        if kind == "compute":
            register = compute_pb2_grpc.add_ComputeNodeServiceServicer_to_server
            server.add(register, Compute(self._script))
        elif kind == "effect":
            server.add(effect_pb2_grpc.add_EffectNodeServiceServicer_to_server, self.effect)
        else:
            container = ModelONEXContainer()
            container.register(Store, self._states)
            for service in Tally(container).services():
                server.add(service.register, service.servicer)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[Nodes]:
    states = await open_store(tmp_path / "reducer.db")
    nodes = Nodes(Script(), states)
    yield nodes
    await nodes.close()
    await states.close()


@pytest.fixture
async def orchestrator(nodes: Nodes, tmp_path: Path) -> AsyncIterator[Successor]:
    """Starts the orchestrator's processes, one after the other."""
    async with AsyncExitStack() as resources:
        store = await open_store(tmp_path / "orchestrator.db")
        resources.push_async_callback(store.close)
        key = await load_signing_key(store)
        settings = LeaseSettings(ttl=30.0, floor=0.05, leeway=0.0)
        offered = Offered()

        @asynccontextmanager
        async def start() -> AsyncIterator[House]:
            script, effect = nodes._script, nodes.effect
            houses: list[House] = []

            async def code(request: StringValue, calls: StepCalls) -> StringValue:
                return await through_all(calls, houses[0])

            offered[StringValue] = code
            async with orchestrating(store, key, settings, nodes.addresses, offered) as (
                node,
                mesh,
            ):
                houses.append(
                    House(
                        store, nodes._states, mesh, script, effect, settings, key, SetClock(),
                        nodes.addresses, offered, node,
                    )
                )  # fmt: skip
                yield houses[0]

        yield start


async def through_all(calls: StepCalls, house: House) -> StringValue:
    """The workflow of all three kinds as code, for contracts without a graph."""
    callees = Callees(house)
    await callees.compute(calls, "price")
    await callees.reduce(calls, "entity")
    await callees.effect(calls, "mail")
    return StringValue(value="done")


def graph() -> Contract:
    contract = Contract(correlation_id=str(uuid.uuid4()), workflow_id="w")
    config = contract.workflow_config
    config.coordination_type = orchestrator_pb2.WORKFLOW_COORDINATION_SEQUENTIAL
    price = config.steps.add(step_id="price", target_node="compute/main")
    price.compute.algorithm_config.algorithm_type = "price"
    price.compute.input_data.value.string_value = "x"
    count = config.steps.add(step_id="count", target_node="reducer/main")
    count.reducer.reduction_config.state_key = "entity"
    count.reducer.input_data.action = "COUNT"
    mail = config.steps.add(step_id="mail", target_node="effect/main")
    mail.effect.external_service_config.service_name = "mail"
    mail.effect.io_operation_config.operation.file.path = "a.txt"
    mail.effect.io_operation_config.operation.file.read.SetInParent()
    # Nothing but the node's return ends a wait of an hour.
    retry = contract.conflict_resolution.retry_config
    retry.initial_backoff.CopyFrom(HOUR)
    retry.max_backoff.CopyFrom(HOUR)
    return contract


def code() -> Contract:
    contract = graph()
    contract.ClearField("workflow_config")
    contract.initial_state.CopyFrom(data.pack(StringValue(value="go")))
    return contract


FORMS = {"graph": graph, "code": code}


def ask(house: House, contract: Contract, timeout: float | None = None) -> asyncio.Task[Output]:
    call = house.orchestrator.ExecuteOrchestration(contract, timeout=timeout)
    return asyncio.ensure_future(_awaited(call))


async def _awaited(call: Awaitable[Output]) -> Output:
    return await call


async def look(house: House) -> Response:
    return await house.workflows.GetWorkflow(orchestrator_pb2.GetWorkflowRequest(workflow_id="w"))


async def until_pending(house: House, attempts: int = 1) -> orchestrator_pb2.PendingStep:
    """The step that waits, once it is on record with so many attempts."""
    async with asyncio.timeout(30):
        while True:
            try:
                steps = (await look(house)).pending_steps
            except OnexError:
                steps = ()  # type: ignore[assignment]
            for step in steps:
                if step.attempts >= attempts and step.HasField("last_error"):
                    return step


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("away", KINDS)
async def test_a_workflow_waits_for_its_node_and_goes_on_when_it_is_back(
    nodes: Nodes, orchestrator: Successor, caplog: pytest.LogCaptureFixture, away: str, form: str
) -> None:
    await nodes.come(*(kind for kind in KINDS if kind != away))
    async with orchestrator() as house:
        with caplog.at_level(logging.WARNING, logger="onex_grpc.workflow.pending"):
            answer = ask(house, FORMS[form]())
            pending = await until_pending(house)
        assert pending.target_node == f"{away}/main"
        assert pending.last_error.reason == "NODE_UNAVAILABLE"
        assert pending.retry_in.seconds > 1000
        assert pending.first_sent.seconds > 0
        (told,) = [record for record in caplog.records if "waits" in record.message]
        for said in ("workflow w", pending.step_id, f"{away}/main", "attempt 1", "next try in"):
            assert said in told.message
        assert (await look(house)).state.status == orchestrator_pb2.WORKFLOW_STATUS_RUNNING
        await nodes.come(away)
        output = await asyncio.wait_for(answer, 30)
        assert output.orchestration_result.status == orchestrator_pb2.WORKFLOW_STATUS_COMPLETED
        assert not (await look(house)).pending_steps
    assert house.script.calls == {"price": 1, "mail": 1}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("away", KINDS)
async def test_a_restart_meanwhile_begins_neither_the_attempts_nor_the_time_anew(
    nodes: Nodes, orchestrator: Successor, away: str, form: str
) -> None:
    await nodes.come(*(kind for kind in KINDS if kind != away))
    contract = FORMS[form]()
    async with orchestrator() as house:
        answer = ask(house, contract)
        before = await until_pending(house)
    with pytest.raises(OnexError):
        await answer
    async with orchestrator() as house:
        await house.node.engine.resume_all()
        after = await until_pending(house, before.attempts + 1)
        assert after.first_sent == before.first_sent
        answer = ask(house, contract)
        await nodes.come(away)
        await asyncio.wait_for(answer, 30)
    assert house.script.calls == {"price": 1, "mail": 1}
    if away == "effect":
        # A repeat tells since when.
        issued = house.script.seen["mail"].issued_us
        assert issued == before.first_sent.ToMicroseconds()


async def test_a_step_that_only_succeeds_is_not_recorded_and_carries_no_time_of_issue(
    nodes: Nodes, orchestrator: Successor
) -> None:
    await nodes.come(*KINDS)
    async with orchestrator() as house:
        await ask(house, graph())
        assert house.script.seen["mail"].issued_us == 0
        assert not await house.store.list_pending("w")


async def test_a_node_that_goes_and_comes_again_and_again(
    nodes: Nodes, orchestrator: Successor
) -> None:
    await nodes.come("reducer", "effect")
    async with orchestrator() as house:
        for turn in range(3):
            contract = graph()
            contract.workflow_id = f"w{turn}"
            contract.workflow_config.steps[1].reducer.reduction_config.state_key = f"entity{turn}"
            answer = ask(house, contract)
            async with asyncio.timeout(30):
                while not await house.store.list_pending(f"w{turn}"):
                    pass
            await nodes.come("compute")
            await asyncio.wait_for(answer, 30)
            await nodes.go("compute")


async def test_within_ends_the_step_with_what_is_known_of_its_outcome(
    nodes: Nodes, orchestrator: Successor
) -> None:
    await nodes.come("compute", "reducer")
    contract = graph()
    contract.workflow_config.steps[2].within.FromMilliseconds(300)
    async with orchestrator() as house:
        with pytest.raises(WorkflowExecutionError) as failed:
            await ask(house, contract)
        (cause,) = failed.value.causes
        assert isinstance(cause, DeadlineExceededError)
        assert cause.context["outcome_unknown"] == "true"
        assert cause.causes[0].reason == "NODE_UNAVAILABLE"
        state = (await look(house)).state
        assert state.status == orchestrator_pb2.WORKFLOW_STATUS_FAILED


async def test_within_of_a_compute_step_leaves_no_outcome_unknown_and_may_be_skipped(
    nodes: Nodes, orchestrator: Successor
) -> None:
    await nodes.come("reducer", "effect")
    contract = graph()
    contract.workflow_config.steps[0].within.FromMilliseconds(300)
    contract.conflict_resolution.continue_on_error = True
    async with orchestrator() as house:
        output = await ask(house, contract)
    first = output.orchestration_result.step_results[0]
    assert first.status == orchestrator_pb2.STEP_STATUS_SKIPPED
    assert first.error.reason == "DEADLINE_EXCEEDED"
    assert "outcome_unknown" not in first.error.context


async def test_the_time_of_a_step_goes_on_over_a_restart(
    nodes: Nodes, orchestrator: Successor
) -> None:
    await nodes.come("compute", "reducer")
    contract = graph()
    contract.workflow_config.steps[2].within.FromSeconds(4)
    async with orchestrator() as house:
        answer = ask(house, contract)
        before = await until_pending(house)
        assert 0 < before.time_left.ToNanoseconds() <= 4e9
    with pytest.raises(OnexError):
        await answer
    async with orchestrator() as house:
        (step,) = await house.store.list_pending("w")
        assert step.left_us is not None
        assert step.left_us < before.time_left.ToMicroseconds()
        with pytest.raises(WorkflowExecutionError) as failed:
            await ask(house, contract)
        assert failed.value.causes[0].reason == "DEADLINE_EXCEEDED"


async def test_a_bound_on_the_retries_ends_the_step_and_counts_over_a_restart(
    nodes: Nodes, orchestrator: Successor
) -> None:
    await nodes.come("compute", "reducer")
    contract = graph()
    contract.conflict_resolution.retry_config.CopyFrom(common_pb2.RetryPolicy(max_retries=1))
    contract.conflict_resolution.retry_config.initial_backoff.CopyFrom(HOUR)
    contract.conflict_resolution.retry_config.max_backoff.CopyFrom(HOUR)
    async with orchestrator() as house:
        answer = ask(house, contract)
        await until_pending(house)
    with pytest.raises(OnexError):
        await answer
    async with orchestrator() as house:
        with pytest.raises(WorkflowExecutionError) as failed:
            await ask(house, contract)
        assert failed.value.causes[0].reason == "NODE_UNAVAILABLE"
        assert (await look(house)).state.steps[2].attempts == 2


async def test_a_deadline_ends_the_waiting_and_says_what_for(
    nodes: Nodes, orchestrator: Successor
) -> None:
    await nodes.come("compute", "effect")
    async with orchestrator() as house:
        answer = ask(house, graph(), timeout=3.0)
        with pytest.raises(DeadlineExceededError) as late:
            await answer
        for said in ("workflow w goes on", "step count", "reducer/main", "NODE_UNAVAILABLE"):
            assert said in late.value.message
        await nodes.come("reducer")
        output = await asyncio.wait_for(ask(house, graph()), 30)
        assert output.orchestration_result.status == orchestrator_pb2.WORKFLOW_STATUS_COMPLETED


@pytest.mark.parametrize("form", FORMS)
async def test_a_known_workflow_is_answered_whoever_has_left_the_settings(
    nodes: Nodes, orchestrator: Successor, form: str
) -> None:
    await nodes.come(*KINDS)
    contract = FORMS[form]()
    async with orchestrator() as house:
        done = await ask(house, contract)
    del nodes.ports["effect"]
    async with orchestrator() as house:
        again = await ask(house, contract)
        assert again.orchestration_result == done.orchestration_result


async def test_a_step_that_times_out_while_its_node_serves_is_no_outage(
    nodes: Nodes, orchestrator: Successor
) -> None:
    await nodes.come(*KINDS)
    contract = graph()
    contract.workflow_config.steps[0].timeout.FromMilliseconds(50)
    contract.conflict_resolution.retry_config.initial_backoff.FromMilliseconds(1)
    contract.conflict_resolution.retry_config.max_backoff.FromMilliseconds(1)
    async with orchestrator() as house:
        house.script.gate("price")
        with pytest.raises(WorkflowExecutionError) as failed:
            await ask(house, contract)
        assert failed.value.causes[0].reason == "DEADLINE_EXCEEDED"
        assert house.script.calls["price"] == 5


async def test_a_bare_status_of_somebody_between_delays(
    nodes: Nodes, orchestrator: Successor
) -> None:
    """A server that is no node of the mesh answers at the node's place, and then the node."""

    class Proxy(grpc.GenericRpcHandler):
        asked = 0

        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:  # type: ignore[type-arg]
            async def refuse(request: bytes, context: grpc.aio.ServicerContext) -> bytes:  # type: ignore[type-arg]
                if "Compute" in (details.method or ""):
                    Proxy.asked += 1
                await context.abort(grpc.StatusCode.INTERNAL, "upstream reset")
                raise AssertionError

            return grpc.unary_unary_rpc_method_handler(refuse)

    await nodes.come("reducer", "effect")
    proxy = grpc.aio.server()
    proxy.add_generic_rpc_handlers([Proxy()])
    proxy.add_insecure_port(f"127.0.0.1:{nodes.ports['compute']}")
    await proxy.start()
    async with orchestrator() as house:
        answer = ask(house, graph())
        pending = await until_pending(house)
        assert pending.last_error.status_code == grpc.StatusCode.INTERNAL.value[0]
        await proxy.stop(None)
        await nodes.come("compute")
        await asyncio.wait_for(answer, 30)


async def test_all_who_wait_for_a_node_are_woken_a_few_at_a_time(
    nodes: Nodes, orchestrator: Successor
) -> None:
    await nodes.come("reducer", "effect")
    async with orchestrator() as house:
        answers = []
        for number in range(40):
            contract = graph()
            contract.workflow_id = f"w{number}"
            contract.workflow_config.steps[1].reducer.reduction_config.state_key = str(number)
            answers.append(ask(house, contract))
        async with asyncio.timeout(30):
            for number in range(40):
                while not await house.store.list_pending(f"w{number}"):
                    pass
        await nodes.come("compute")
        async with asyncio.timeout(30):
            await asyncio.gather(*answers)
    assert house.script.calls == {"price": 40, "mail": 40}
