"""A node as a process: started, asked for its health, drained."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from onex.v1 import compute_pb2, compute_pb2_grpc, node_pb2, node_pb2_grpc
from onex_grpc.errors import (
    ConfigurationError,
    LeaseRequiredError,
    NodeUnavailableError,
    ResourceExhaustedError,
)
from onex_grpc.rpc import Mesh
from onex_grpc.serve.health_client import list_health
from onex_grpc.testing.otlp import OtlpReceiver
from onex_grpc.testing.process import NodeProcess

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
COMPUTE = "onex.v1.ComputeNodeService"
PLACE = "mynodes:Waiting"


def waiting(seconds: float) -> compute_pb2.ModelContractCompute:
    contract = compute_pb2.ModelContractCompute()
    contract.algorithm_config.algorithm_type = "wait"
    contract.algorithm_config.parameters["seconds"] = seconds
    contract.input_data.value.bool_value = True
    return contract


async def check(channel: grpc.aio.Channel, service: str) -> health_pb2.HealthCheckResponse:
    method = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return await method(health_pb2.HealthCheckRequest(service=service))


def watch(channel: grpc.aio.Channel) -> AsyncIterable[health_pb2.HealthCheckResponse]:
    method = channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    return method(health_pb2.HealthCheckRequest())


def onex(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "onex_grpc.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


async def test_node_tells_what_it_is_and_how_it_is(folder: Path) -> None:
    async with NodeProcess(PLACE, folder=folder) as process:
        mesh = Mesh({"compute": process.address})
        about = mesh.stub(node_pb2_grpc.NodeServiceStub, "compute")
        described = (await about.DescribeNode(node_pb2.DescribeNodeRequest())).node
        health = (await about.GetNodeHealth(node_pb2.GetNodeHealthRequest())).health
        await mesh.close()
        statuses = await list_health(process.address, None, 5.0)
        async with grpc.aio.insecure_channel(process.address) as channel:
            whole = await check(channel, "")
            one = await check(channel, COMPUTE)
            with pytest.raises(grpc.aio.AioRpcError) as unknown:
                await check(channel, "shop.v1.Shelf")

    assert process.node == "compute/waiting"
    assert (described.name, described.version) == ("waiting", "1.2.0")
    assert {COMPUTE, "onex.v1.NodeService"} <= set(described.services)
    assert {"sum", "wait"} <= set(described.operations)
    assert health.status == node_pb2.HEALTH_STATUS_HEALTHY
    assert health.dependencies == {"weather": True}
    assert health.resource_usage > 0
    assert health.uptime.ToNanoseconds() > 0
    assert (whole.status, one.status) == (SERVING, SERVING)
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    assert set(statuses) == {"", *described.services}
    assert set(statuses.values()) == {"SERVING"}


async def test_call_in_flight_finishes_after_sigterm_and_new_ones_are_refused(
    folder: Path,
) -> None:
    async with NodeProcess(PLACE, folder=folder) as process:
        mesh = Mesh({"compute": process.address})
        compute = mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute")
        async with grpc.aio.insecure_channel(process.address) as channel:
            statuses = aiter(watch(channel))
            assert (await anext(statuses)).status == SERVING
            in_flight = asyncio.ensure_future(compute.ExecuteCompute(waiting(1.0)))
            await process.output_line("handler runs")

            process.send_signal(signal.SIGTERM)

            assert (await anext(statuses)).status == NOT_SERVING
            assert not in_flight.done()
            with pytest.raises(NodeUnavailableError):
                await compute.ExecuteCompute(waiting(0.0))
            answer = await in_flight
        code = await process.wait()
        await mesh.close()

    assert answer.processed_data.value.string_value == "waited"
    assert code == 0


async def test_call_that_outlasts_the_grace_is_cut_off(folder: Path) -> None:
    (folder / "onex.toml").write_text("drain_grace = 0.2")
    async with NodeProcess(PLACE, folder=folder) as process:
        mesh = Mesh({"compute": process.address})
        compute = mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute")
        in_flight = asyncio.ensure_future(compute.ExecuteCompute(waiting(60.0)))
        await process.output_line("handler runs")
        async with asyncio.timeout(10):
            code = await process.stop()
        with pytest.raises(NodeUnavailableError):
            await in_flight
        await mesh.close()

    assert code == 0


async def test_spans_are_sent_before_the_process_ends(folder: Path) -> None:
    with OtlpReceiver() as receiver:
        # An interval in which nothing is sent unless the end of the process does it.
        environment = {**receiver.environment, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
        async with NodeProcess(PLACE, folder=folder, environment=environment) as process:
            mesh = Mesh({"compute": process.address})
            compute = mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute")
            await compute.ExecuteCompute(waiting(0.0))
            await mesh.close()
        spans = receiver.wait_for(1)

    assert [(s.name, s.node) for s in spans] == [(f"{COMPUTE}/ExecuteCompute", "compute/waiting")]


async def test_port_in_use_is_a_mistake_in_one_line(folder: Path) -> None:
    async with NodeProcess(PLACE, folder=folder) as process:
        port = process.address.rpartition(":")[2]
        second = await asyncio.to_thread(onex, "serve", PLACE, "--port", port, folder=folder)
        with pytest.raises(ConfigurationError, match=f"port {port} "):
            await NodeProcess(PLACE, folder=folder, port=int(port)).start()

    assert second.returncode == 2
    assert second.stdout == ""
    assert second.stderr.startswith(f"error: port {port} on 127.0.0.1 cannot be bound")
    assert second.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mynodes"], "'mynodes' is not MODULE:CLASS"),
        (["absent:Node"], "there is no module 'absent'"),
        (["mynodes:Absent"], "not a node's class of mynodes; it has: Nameless, Waiting"),
        (["mynodes:Nameless"], "Nameless has no descriptor"),
        ([PLACE, "--config", "absent.toml"], "absent.toml cannot be read"),
        ([PLACE, "--name", "Not A Name"], "name 'Not A Name' does not match"),
        ([PLACE, "--host", "0.0.0.0"], "host 0.0.0.0: without TLS"),  # noqa: S104
        ([PLACE, "--log-level", "loud"], "log_level: invalid enum value 'loud'"),
    ],
)
def test_mistake_is_told_in_one_line(folder: Path, arguments: list[str], said: str) -> None:
    done = onex("serve", *arguments, folder=folder)

    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


async def test_state_folder_belongs_to_one_process(folder: Path) -> None:
    async with NodeProcess("servers.effect:OrderDesk", folder=folder) as first:
        second = await asyncio.to_thread(
            onex, "serve", "servers.effect:OrderDesk", "--port", "0", folder=folder
        )
        pid = first.pid

    assert second.returncode == 2
    assert f"{pid}" in second.stderr
    assert second.stderr.count("\n") == 1


def test_state_folder_that_cannot_be_written_is_named(folder: Path) -> None:
    (folder / "taken").write_text("a file, not a folder")
    done = onex("serve", "servers.effect:OrderDesk", "--state", "taken", folder=folder)

    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "taken" in done.stderr
    assert done.stderr.count("\n") == 1


async def test_concurrent_calls_beyond_the_limit_are_refused(folder: Path) -> None:
    (folder / "onex.toml").write_text(
        "drain_grace = 0\n[limits]\nconcurrent_calls = 1\nqueue_seconds = 0.1"
    )
    async with NodeProcess(PLACE, folder=folder) as process:
        mesh = Mesh({"compute": process.address})
        compute = mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute")
        running = asyncio.ensure_future(compute.ExecuteCompute(waiting(60.0)))
        await process.output_line("handler runs")
        with pytest.raises(ResourceExhaustedError):
            await compute.ExecuteCompute(waiting(0.0))
        running.cancel()
        await asyncio.wait([running])
        await mesh.close()


async def test_calls_beyond_the_limit_wait_for_their_turn(folder: Path) -> None:
    (folder / "onex.toml").write_text("[limits]\nconcurrent_calls = 20\nqueue_seconds = 30")
    async with (
        NodeProcess(PLACE, folder=folder) as process,
        Mesh({"compute": process.address}) as mesh,
    ):
        compute = mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute")
        # So many may run and wait; the node can be asked meanwhile.
        calls = [compute.ExecuteCompute(waiting(0.2)) for _ in range(200)]
        about = mesh.stub(node_pb2_grpc.NodeServiceStub, "compute")
        await asyncio.gather(*calls, about.GetNodeHealth(node_pb2.GetNodeHealthRequest()))


async def test_leases_are_required_where_set(folder: Path) -> None:
    environment = {"ONEX_REQUIRE_LEASE": "true"}
    async with NodeProcess(PLACE, folder=folder, environment=environment) as process:
        mesh = Mesh({"compute": process.address})
        compute = mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute")
        with pytest.raises(LeaseRequiredError):
            await compute.ExecuteCompute(waiting(0.0))
        await mesh.close()


async def test_health_command_tells_people_and_programs(folder: Path) -> None:
    async with NodeProcess(PLACE, folder=folder, options=["--name", "second"]) as process:
        shown = await asyncio.to_thread(onex, "health", process.address, folder=folder)
        parsed = await asyncio.to_thread(onex, "health", process.address, "--json", folder=folder)
    gone = await asyncio.to_thread(onex, "health", process.address, folder=folder)

    assert shown.returncode == parsed.returncode == 0
    assert "compute/second" in shown.stdout
    assert "HEALTHY" in shown.stdout
    assert "\x1b" not in shown.stdout
    report = json.loads(parsed.stdout)
    assert report["node"] == "compute/second"
    assert report["serving"] is True
    assert report["services"][COMPUTE] == "SERVING"
    assert gone.returncode == 2
    assert gone.stderr.startswith(f"error: {process.address} does not tell its health: UNAVAILABLE")


def test_help_loads_neither_grpc_nor_opentelemetry(folder: Path) -> None:
    program = (
        "import sys, onex_grpc.cli\n"
        "try: onex_grpc.cli.main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {name.partition('.')[0] for name in sys.modules}\n"
        "sys.exit(bool(heavy & {'grpc', 'opentelemetry', 'google', 'rich', 'msgspec'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "--help"], capture_output=True, text=True, check=False
    )
    before = os.times()
    onex("--help", folder=folder)
    after = os.times()

    assert done.returncode == 0, done.stderr
    commands = ["generate", "serve", "backup", "restore", "check", "nodes", "queue", "health"]
    listed = done.stdout.partition("Commands:")[2].splitlines()
    assert [line.split()[0] for line in listed if line.strip()] == commands
    # CPU time, for the machine may have other work; half of it is Python itself.
    used = sum(after[2:4]) - sum(before[2:4])
    assert used < 0.2
