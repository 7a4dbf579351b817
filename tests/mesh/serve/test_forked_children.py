"""A child that a node forks keeps nothing of it: after a crash of the node the next one serves."""

from __future__ import annotations

import asyncio
import contextlib
import os
from signal import SIGKILL
from typing import TYPE_CHECKING

import psutil
import pytest

from onex.v1 import node_pb2, node_pb2_grpc, registry_pb2, registry_pb2_grpc
from onex_grpc.contract.node import node_name
from onex_grpc.rpc import Mesh
from onex_grpc.testing.process import NodeProcess
from servers.supervisor import free_ports
from tests.store.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterator
    from pathlib import Path

NODES = '''
import asyncio
import concurrent.futures
import gc
import multiprocessing
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

from onex.v1 import node_pb2
from onex_grpc.node import NodeCompute, NodeEffect, NodeOrchestrator, NodeReducer
from onex_grpc.reducer.model import Reduction
from orders.v1 import orders_pb2

SLEEP = 60
# Python 3.14 has another default.
FORK = multiprocessing.get_context("fork")
held = []


def fork(act):
    pid = os.fork()
    if pid == 0:
        act()
        os._exit(0)
    return pid


def process():
    child = FORK.Process(target=time.sleep, args=(SLEEP,), daemon=True)
    child.start()
    held.append(child)
    return child.pid


def pool():
    made = FORK.Pool(1, time.sleep, (SLEEP,))
    held.append(made)
    return made._pool[0].pid


def executor():
    made = concurrent.futures.ProcessPoolExecutor(1, FORK, time.sleep, (SLEEP,))
    made.submit(abs, 1)
    held.append(made)
    return next(iter(made._processes))


def daemon():
    """Forked twice, with a session of its own."""
    told, tells = os.pipe()

    def first():
        os.setsid()
        pid = fork(lambda: time.sleep(SLEEP))
        os.write(tells, str(pid).encode())

    os.waitpid(fork(first), 0)
    return int(os.read(told, 32))


def terminal():
    pid, held_open = pty.fork()
    if pid == 0:
        # Sent when the node, which has the other end, is gone.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.write(1, b"deaf")
        time.sleep(SLEEP)
        os._exit(0)
    os.read(held_open, 4)
    held.append(held_open)
    return pid


def command():
    child = subprocess.Popen(["sleep", str(SLEEP)], close_fds=False, stdout=subprocess.DEVNULL)
    held.append(child)
    return child.pid


def leaving():
    """Ends as a program does, with all that is run then."""
    def leave():
        gc.collect()
        sys.exit(7)
    return fork(leave)


def falling():
    """Ends by an exception that nobody catches, in the midst of a call."""
    def fall():
        raise RuntimeError("the child has a fault")
    return fork(fall)


def straying():
    """Goes on as if it were the node."""
    return os.fork()


CHILDREN = {each.__name__: each for each in (
    process, pool, executor, daemon, terminal, command, leaving, falling, straying)}
CHILDREN["plain"] = lambda: fork(lambda: time.sleep(SLEEP))
DESCRIPTOR = node_pb2.NodeDescriptor(name="forking", version="1.0.0")


class Forking:
    """Forks when it is asked for its health."""

    async def dependencies(self):
        how = Path("how").read_text()
        node = os.getpid()
        # The test reads it until nobody has it open any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if how == "thread":
            pid = await asyncio.to_thread(CHILDREN["plain"])
        elif how:
            pid = CHILDREN[how]()
        if how and os.getpid() == node:
            Path("child").write_text(str(pid))
        return {"answered": True}


class Compute(Forking, NodeCompute):
    descriptor = DESCRIPTOR


class Effect(Forking, NodeEffect):
    descriptor = DESCRIPTOR


class Orchestrator(Forking, NodeOrchestrator):
    descriptor = DESCRIPTOR


class Reducer(Forking, NodeReducer[orders_pb2.Order]):
    descriptor = DESCRIPTOR
    state_type = orders_pb2.Order

    def transition(self, state, action):
        return Reduction(state)
'''
LASTING = ("plain", "process", "pool", "executor", "daemon", "terminal", "command", "thread")
ENDING = ("leaving", "falling", "straying")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "forking.py").write_text(NODES)
    (tmp_path / "onex.toml").write_text("")
    (tmp_path / "how").write_text("")
    return tmp_path


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.stop()


@contextlib.asynccontextmanager
async def child_of(process: NodeProcess, folder: Path, how: str) -> AsyncIterator[int]:
    """A child that the node has forked; it is killed in the end."""
    (folder / "how").write_text(how)
    await ask(process)
    (folder / "how").write_text("")
    pid = int((folder / "child").read_text())
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, SIGKILL)


async def ask(process: NodeProcess) -> node_pb2.NodeHealthStatus:
    kind = process.node.partition("/")[0]
    async with Mesh({kind: process.address}) as mesh:
        stub = mesh.stub(node_pb2_grpc.NodeServiceStub, kind)
        answer = await stub.GetNodeHealth(node_pb2.GetNodeHealthRequest(), timeout=20)
        return answer.health


async def serves_after_a_crash(folder: Path, node: str, how: str) -> None:
    place, (port,) = f"forking:{node}", free_ports(1)
    first = NodeProcess(place, folder=folder, port=port)
    await first.start()
    async with child_of(first, folder, how) as child:
        await first.kill()
        os.kill(child, 0)
        async with NodeProcess(place, folder=folder, port=port) as second:
            # More than once, since a listener of the child's would get some of the connections.
            for _ in range(5):
                assert (await ask(second)).dependencies["answered"]
        os.kill(child, 0)


@pytest.mark.parametrize("how", LASTING)
async def test_next_node_serves_beside_a_child_of_the_last(folder: Path, how: str) -> None:
    await serves_after_a_crash(folder, "Reducer", how)


@pytest.mark.parametrize("node", ["Compute", "Effect", "Orchestrator"])
async def test_nodes_of_all_kinds_do(folder: Path, node: str) -> None:
    await serves_after_a_crash(folder, node, "process")


@pytest.mark.parametrize("node", ["Effect", "Orchestrator", "Reducer"])
async def test_next_node_has_its_postgresql_store(
    folder: Path, postgres: PostgresServer, node: str
) -> None:
    (folder / "onex.toml").write_text(f'store = "{postgres.address}"\n')
    await serves_after_a_crash(folder, node, "plain")


async def test_registry_sees_that_the_node_is_gone(folder: Path) -> None:
    """The connections that the node has made end with it, too."""
    async with NodeProcess("forking:Orchestrator", folder=folder) as registry:
        (folder / "onex.toml").write_text(f'registry = "{registry.address}"\n')
        async with Mesh({"orchestrator": registry.address}) as mesh:
            stub = mesh.stub(registry_pb2_grpc.RegistryServiceStub, "orchestrator")
            watch = stub.WatchNodes(registry_pb2.WatchNodesRequest())
            first = NodeProcess("forking:Compute", folder=folder)
            await first.start()
            async with asyncio.timeout(20):
                await until_listed(watch, "compute/forking", listed=True)
            async with child_of(first, folder, "plain"):
                await first.kill()
                # A registry that had to ping its way to that would need half a minute.
                async with asyncio.timeout(10):
                    await until_listed(watch, "compute/forking", listed=False)
            watch.cancel()


async def ended(child: int) -> None:
    async with asyncio.timeout(20):
        while True:
            if psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
                return
            await asyncio.sleep(0.01)


async def until_listed(
    watch: AsyncIterable[registry_pb2.WatchNodesResponse], node: str, *, listed: bool
) -> None:
    async for told in watch:
        names = {node_name(each.node) for each in told.nodes}
        if (node in names) == listed:
            return


@pytest.mark.parametrize("how", ENDING)
@pytest.mark.parametrize("node", ["Compute", "Reducer"])
async def test_child_that_ends_does_no_harm_to_its_node(folder: Path, node: str, how: str) -> None:
    async with NodeProcess(f"forking:{node}", folder=folder) as process:
        async with child_of(process, folder, how) as child:
            for _ in range(5):
                assert (await ask(process)).dependencies["answered"]
            await ended(child)
        assert await process.stop() == 0
