"""Processes that are started, stopped in their tracks, and told what to do by lines."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[2]
_END_SECONDS: Final = 20
_PR_SET_PDEATHSIG: Final = 1


def die_with_parent() -> None:
    """Has the kernel kill this process when its parent ends, where the kernel can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Worker:
    """A Python module of the tests that runs in a process of its own."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    @classmethod
    async def start(cls, name: str, module: str, *arguments: str) -> Worker:
        """Starts it; what it complains about goes where ours goes."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            cwd=_ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            preexec_fn=die_with_parent,
        )
        return cls(name, process)

    async def tell(self, line: bytes) -> None:
        """Writes a line to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")
        await self._process.stdin.drain()

    async def hear(self, seconds: float) -> str:
        """Its next line; raises RuntimeError where it has ended, TimeoutError where it is slow."""
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), seconds)
        if not line:
            raise RuntimeError(f"{self.name} ended with {await self._process.wait()}")
        return line.decode().strip()

    def pause(self) -> None:
        """Stops it wherever it is."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        self._process.send_signal(signal.SIGCONT)

    async def end(self) -> None:
        """Lets it finish; kills it where it does not."""
        assert self._process.stdin is not None
        if self._process.returncode is None:
            self.resume()
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _END_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
