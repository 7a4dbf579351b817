"""A side's client of `bench.call`: `python -m bench.pairs.call_side PORT`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING
from unittest.mock import patch

import uvloop

from bench import call_roles
from bench.pairs.marks import answer_marks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def _measured_by_marks(call: Callable[[int], Awaitable[None]]) -> None:
    async def find(_: str) -> Callable[[int], Awaitable[None]]:
        return call

    await answer_marks(find)


if __name__ == "__main__":
    # The roles of an older commit have no other way in.
    with patch.object(call_roles, "_rounds", _measured_by_marks):
        uvloop.run(call_roles.drive_full(sys.argv[1]))
