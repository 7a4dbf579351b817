"""Processes that a benchmark starts and tells what to measure, line by line."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import IO, TYPE_CHECKING, cast

from tests.torture.processes import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import ExitStack
    from pathlib import Path


class ChildEndedError(SystemExit):
    """A child has ended although it was needed: ends the benchmark where nobody catches it."""


class Child:
    """A module of ours that runs as a process until the stack is closed.

    Attributes:
        first_line: what it said when it was ready.
    """

    def __init__(
        self,
        stack: ExitStack,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        """Start the process; returns when it is ready.

        Args:
            stack: ends the process when it is closed.
            arguments: module and its arguments.
            environment: variables besides our own, without those of OpenTelemetry: an exporter
                that this shell names is none of the benchmark's.
            folder: working folder.

        Raises:
            ChildEndedError: when it ends before it is ready.
        """
        inherited = {name: at for name, at in os.environ.items() if not name.startswith("OTEL_")}
        self._name = " ".join(arguments)
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**inherited, **(environment or {})},
            cwd=folder,
            preexec_fn=die_with_parent,
            # Ctrl-C is for the parent alone, which ends the others.
            start_new_session=True,
        )
        stack.callback(self._stop)
        self.first_line = self._read()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def ask(self, *words: object) -> str:
        """Return the line with which the process answers one.

        Raises:
            ChildEndedError: when it ends instead.
        """
        print(*words, file=self._process.stdin, flush=True)
        return self._read()

    def _read(self) -> str:
        line = cast("IO[str]", self._process.stdout).readline().strip()
        if not line:
            raise ChildEndedError(f"`{self._name}` ended early; see its message above")
        return line

    def _stop(self) -> None:
        self._process.kill()
        self._process.communicate()
