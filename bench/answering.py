"""The child's half of `bench.children`: each line that comes in is answered with one."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence


async def answer_lines(answer: Callable[[Sequence[str]], Awaitable[object]]) -> None:
    """Say `ready`, then answer line by line until the parent closes the pipe.

    Args:
        answer: gets the words of a line.
    """
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    # The loop stays free while it waits, so that what was recorded is exported before the next.
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(await answer(line.split()), flush=True)
