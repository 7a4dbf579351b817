"""Progress of a run on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

_SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Counts ended orders, and says what happens meanwhile."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        self._bar = Bar(
            TextColumn("orders"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("orders", total=total)
        self._bar.start()
        self._said = self._began = time.monotonic()

    def say(self, text: str) -> None:
        """One message above the bar."""
        self._console.print(text)

    def ended(self, count: int) -> None:
        """`count` orders have ended so far."""
        self._bar.update(self._task, completed=count)
        now = time.monotonic()
        quiet = now - self._said < _SECONDS_BETWEEN_LINES and count < self._total
        if self._console.is_terminal or quiet:
            return
        self._said = now
        rate = count / max(now - self._began, 1e-9)
        self.say(f"{count}/{self._total} orders, {rate:.0f}/s")

    def finish(self) -> None:
        """Takes the bar off the screen."""
        self._bar.stop()
