"""A node as a process of its own, for tests that need a real one: to call, to stop, to kill."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from signal import SIGKILL, SIGTERM, Signals
from typing import TYPE_CHECKING, Self

from onex_grpc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

_SERVING = re.compile(r"serving (?P<node>\S+) on (?P<address>\S+)")


class NodeProcess:
    """Runs `onex serve place` while the block runs; entered when it serves.

    Attributes:
        node: the node as `kind/name`.
        address: where it serves, as `host:port`.
        pid: the id of the process.
        log: file with everything that it wrote to stderr.
    """

    def __init__(
        self,
        place: str,
        *,
        folder: Path,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        port: int = 0,
        start_timeout: float = 20.0,
    ) -> None:
        """Names the process; nothing runs yet.

        Args:
            place: `module:Class` as `onex serve` takes it.
            folder: working directory; onex.toml is read here, and state and log are written.
            options: further options of `onex serve`.
            environment: variables besides those of this process.
            port: to serve on; 0 takes a free one.
            start_timeout: seconds in which it must serve.
        """
        self.node = ""
        self.address = ""
        self.log = folder / f"{re.sub(r'[^A-Za-z0-9]+', '-', place)}.log"
        self._command = (
            *(sys.executable, "-m", "onex_grpc.cli", "serve", place),
            *("--port", str(port), *options),
        )
        self._folder = folder
        self._environment = {**os.environ, **(environment or {})}
        self._start_timeout = start_timeout
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._running().pid

    async def start(self) -> None:
        """Starts the process; returns when it serves.

        Raises:
            ConfigurationError: when it ends, or says nothing in time; with the last line of
                its log.
        """
        with self.log.open("ab") as stderr:
            process = self._process = await asyncio.create_subprocess_exec(
                *self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
            )
        line = b""
        try:
            async with asyncio.timeout(self._start_timeout):
                line = await self._output().readline()
        except TimeoutError:
            process.kill()
        found = _SERVING.match(line.decode())
        if found is None:
            await process.wait()
            said = self.log.read_text().strip().splitlines()[-1:] or ["nothing"]
            raise ConfigurationError(f"the process does not serve; it said: {said[0]}")
        self.node, self.address = found["node"], found["address"]

    async def output_line(self, wanted: str) -> None:
        """Waits for a line that the node's own code prints to stdout.

        Raises:
            ConfigurationError: when the process ends without it.
        """
        output = self._output()
        while line := (await output.readline()).decode():
            if line.rstrip("\n") == wanted:
                return
        raise ConfigurationError(f"the process has ended without the line {wanted!r}")

    async def stop(self) -> int:
        """Ends the process as a supervisor does, by SIGTERM; returns its exit code."""
        return await self._end(SIGTERM)

    async def kill(self) -> int:
        """Ends the process as a crash does, by SIGKILL; returns its exit code."""
        return await self._end(SIGKILL)

    def send_signal(self, number: Signals) -> None:
        """Sends a signal and does not wait."""
        # Not the process's own method: it asks for the exit code first, and takes it from asyncio's
        # watcher, which then knows none.
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._running().pid, number)

    async def wait(self) -> int:
        """Waits for the end of the process; returns its exit code."""
        return await self._running().wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.returncode is None:
            await self.stop()

    async def _end(self, number: Signals) -> int:
        process = self._running()
        if process.returncode is None:
            self.send_signal(number)
        return await process.wait()

    def _output(self) -> asyncio.StreamReader:
        stdout = self._running().stdout
        if stdout is None:
            raise AssertionError("the pipe was asked for")
        return stdout

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise ConfigurationError("the process was not started; enter it with `async with`")
        return self._process
