"""The processes of one side for a benchmark, held still while the other side is measured."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from signal import SIGCONT, SIGSTOP
from typing import TYPE_CHECKING, Final

from bench import call
from bench.workflow_load import plan_nodes
from tests.store.server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import ExitStack
    from pathlib import Path
    from signal import Signals

    from bench.children import Child
    from bench.pairs.figures import Figure
    from bench.pairs.sides import Side


@dataclass(frozen=True, slots=True)
class Mark:
    """Calls done, and the seconds for which their side was running."""

    done: int
    seconds: float

    def __sub__(self, earlier: Mark) -> Mark:
        return Mark(self.done - earlier.done, self.seconds - earlier.seconds)


class Rig:
    """Processes of one side.

    While it is held nothing of it runs, its database and its exporter of spans neither: each side
    pays in its own time for all that it does.
    """

    def __init__(self, side: Side, stack: ExitStack, folder: Path) -> None:
        """Start nothing yet.

        Args:
            side: whose code runs.
            stack: ends what is started.
            folder: of its own.
        """
        self.folder = folder
        self.drivers: dict[str, Child] = {}
        self._side = side
        self._stack = stack
        self._pids: list[int] = []
        self._groups: list[int] = []
        self._held_at = 0.0
        self._held = 0.0

    def child(
        self, arguments: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> Child:
        """Start a module; raises ChildEndedError where it does not start."""
        child = self._side.start(self._stack, arguments, environment)
        self._pids.append(child.pid)
        return child

    def postgres(self) -> str:
        """Start a server; returns its address."""
        server = _Server()
        self._stack.callback(server.stop)
        self._groups.append(server.group)
        self._guard(server.group)
        return server.address

    def prepare(self, figure: Figure) -> None:
        """Make what the callers of a figure need: leases, intents that wait."""
        self._driver(figure).ask("prepare", figure.what)

    def start(self, figure: Figure) -> Mark:
        """Let the callers begin, once all is prepared."""
        self._driver(figure).ask("start", figure.callers)
        return self.mark(figure)

    def mark(self, figure: Figure) -> Mark:
        """Return what this side has done until now."""
        done, at = self._driver(figure).ask("mark").split()
        return Mark(int(done), float(at) - self._held)

    def stop(self, figure: Figure) -> None:
        """Let the callers come to their end."""
        self._driver(figure).ask("stop")

    def hold(self) -> None:
        """Stop all processes wherever they are."""
        self._signal(SIGSTOP)
        self._held_at = time.perf_counter()

    def release(self) -> None:
        """Let them go on."""
        if self._held_at:
            self._held += time.perf_counter() - self._held_at
            self._held_at = 0.0
        self._signal(SIGCONT)

    def _guard(self, group: int) -> None:
        # Were we killed while the server is held, its own orders to end would never reach it.
        command = ["/bin/sh", "-c", f"read line; kill -CONT -{group}"]
        guard = subprocess.Popen(  # noqa: S603 - our own numbers
            command, stdin=subprocess.PIPE, start_new_session=True
        )
        self._stack.callback(guard.communicate)

    def _driver(self, figure: Figure) -> Child:
        return self.drivers.get(figure.what) or self.drivers[""]

    def _signal(self, number: Signals) -> None:
        for pid in self._pids:
            os.kill(pid, number)
        for group in self._groups:
            os.killpg(group, number)


class _Server(PostgresServer):
    @property
    def group(self) -> int:
        """The process group of the server with all its processes."""
        if self._process is None:
            raise AssertionError("it was started")
        return self._process.pid


def _build_call(rig: Rig) -> None:
    sink = rig.child([call.ROLES, "sink"]).first_line
    for share in call.SAMPLING:
        variables = call.sampled(share, sink)
        port = rig.child([call.ROLES, "serve", "full"], variables).first_line
        rig.drivers[share] = rig.child(["bench.pairs.call_side", port], variables)


def _build_workflow(rig: Rig) -> None:
    inside = rig.folder / "inside"
    inside.mkdir()
    addresses, commands = plan_nodes(rig.folder)
    for command in commands.values():
        rig.child(command)
    arguments = ["bench.pairs.workflow_side", str(inside), addresses["orchestrator"]]
    rig.drivers[""] = rig.child(arguments)


def _build_store(rig: Rig) -> None:
    rig.drivers[""] = rig.child(["bench.pairs.store_side", str(rig.folder), rig.postgres()])


_BUILD: Final = {"call": _build_call, "workflow": _build_workflow, "store": _build_store}


def build_rig(bench: str, side: Side, stack: ExitStack, folder: Path) -> Rig:
    """Start the processes of a benchmark.

    Raises:
        ChildEndedError: when one of them does not start.
    """
    folder.mkdir()
    rig = Rig(side, stack, folder)
    _BUILD[bench](rig)
    return rig
