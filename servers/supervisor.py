"""Starts the servers of the sample mesh as processes, and restarts one that dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from onex_grpc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

KINDS = ("effect", "compute", "reducer", "orchestrator")
REPLICATED = (*KINDS, "orchestrator")
"""The kinds of a mesh with two orchestrators."""
DEFAULT_PORTS = (50051, 50052, 50053, 50054)

_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_RESTARTS = 20


def free_ports(count: int) -> tuple[int, ...]:
    """Ports of the loopback interface on which nothing listens now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return tuple(each.getsockname()[1] for each in sockets)


class Server(NamedTuple):
    """One process: its own name, the kind of its node, where it listens."""

    name: str
    kind: str
    port: int


@dataclass(frozen=True, slots=True)
class MeshLayout:
    """Where the servers listen, where they keep their state and where the CSV files lie.

    Attributes:
        state: folder of logs, settings, orders, and of the stores where `store` is empty.
        csv_folder: where the CSV files lie.
        ports: of KINDS, or of REPLICATED.
        store: address of the PostgreSQL database in which the stores lie.
    """

    state: Path
    csv_folder: Path
    ports: tuple[int, ...]
    store: str = ""

    @property
    def servers(self) -> Sequence[Server]:
        """All processes; the second one of a kind is numbered."""
        kinds = REPLICATED[: len(self.ports)]
        return [
            Server(kind if index < len(KINDS) else f"{kind}-2", kind, port)
            for index, (kind, port) in enumerate(zip(kinds, self.ports, strict=True))
        ]

    @property
    def addresses(self) -> dict[str, str]:
        """The address of each node by its name."""
        found: dict[str, str] = {}
        for server in self.servers:
            node, at = f"{server.kind}/orders", f"127.0.0.1:{server.port}"
            found[node] = f"{found[node]},{at}" if node in found else at
        return found

    @property
    def config(self) -> Path:
        """The settings that all servers read."""
        return self.state / "onex.toml"


class Supervisor:
    """The server processes; `say` gets one line for each start, death and restart."""

    def __init__(self, layout: MeshLayout, say: Callable[[str], None]) -> None:
        self._layout = layout
        self._say = say
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Returns when all of them serve.

        Raises:
            ConfigurationError: when one cannot start; with its own reason.
        """
        (self._layout.state / "logs").mkdir(parents=True, exist_ok=True)
        servers = self._layout.servers
        await asyncio.gather(*(self._launch(server) for server in servers))
        self._watchers = [asyncio.create_task(self._watch(server)) for server in servers]

    async def failed(self) -> None:
        """Returns never; raises when a server can no longer be kept alive."""
        await asyncio.shield(self._failed)

    async def stop(self) -> None:
        """Lets every server finish what it does, and ends it."""
        for task in self._watchers:
            task.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        # Callers first: the orchestrator's last calls still find their nodes.
        for server in reversed(self._layout.servers):
            await self._end(self._processes.get(server.name))

    async def _launch(self, server: Server) -> None:
        log = self._layout.state / "logs" / f"{server.name}.log"
        with log.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                *self._command(server),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                # Ctrl-C is for the supervisor alone: it stops the servers in their order.
                start_new_session=True,
            )
        self._processes[server.name] = process
        line = await _first_line(process)
        if not line.startswith(b"serving "):
            await self._end(process)
            raise ConfigurationError(f"{server.name} does not start: {_last_line(log)}")
        self._say(f"{line.decode().strip()} (pid {process.pid})")

    def _command(self, server: Server) -> Sequence[str]:
        module = f"servers.{server.kind}"
        config = str(self._layout.config)
        options = ["--config", config, "--port", str(server.port), "--with-parent"]
        if self._layout.store:
            # The same at each start, so that a restarted one goes on with its own work at once.
            options += ["--instance", server.name]
        return (sys.executable, "-m", module, *options)

    async def _watch(self, server: Server) -> None:
        for _ in range(_RESTARTS):
            code = await self._processes[server.name].wait()
            self._say(f"{server.name} died ({_cause(code)}); restarting it")
            try:
                await self._launch(server)
            except ConfigurationError as fault:
                self._give_up(fault)
                return
        self._give_up(ConfigurationError(f"{server.name} died {_RESTARTS} times; see its log"))

    def _give_up(self, fault: ConfigurationError) -> None:
        if not self._failed.done():
            self._failed.set_exception(fault)

    async def _end(self, process: asyncio.subprocess.Process | None) -> None:
        if process is None or process.returncode is not None:
            return
        _signal(process, signal.SIGTERM)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            _signal(process, signal.SIGKILL)
            await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    # Not process.send_signal: it asks for the exit code first, and takes it from asyncio's watcher.
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, number)


async def _first_line(process: asyncio.subprocess.Process) -> bytes:
    if process.stdout is None:
        return b""
    try:
        async with asyncio.timeout(_START_SECONDS):
            return await process.stdout.readline()
    except TimeoutError:
        return b""


def _cause(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    last = lines[-1] if lines else f"no reason given; see {log}"
    return last.removeprefix("error: ")
