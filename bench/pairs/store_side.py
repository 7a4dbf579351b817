"""A side's stores, one for each operation and back end.

`python -m bench.pairs.store_side FOLDER POSTGRES`, with a folder for SQLite's files and the address
of a server. Figures are `BACKEND/OPERATION`.
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from bench.pairs.marks import answer_marks
from bench.store_load import OPERATIONS, StoreLoad
from onex_grpc.store import open_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def main(folder: Path, postgres: str) -> None:
    """Answer until the pipe is closed."""
    async with AsyncExitStack() as stack:
        loads: dict[str, StoreLoad] = {}
        for operation in OPERATIONS:
            file = await open_store(folder / f"{operation}.db")
            stack.push_async_callback(file.close)
            loads[f"sqlite/{operation}"] = StoreLoad(file)
            schema = await open_store(postgres, owner=f"bench/{operation}")
            stack.push_async_callback(schema.close)
            loads[f"postgresql/{operation}"] = StoreLoad(schema)

        async def find(figure: str) -> Callable[[int], Awaitable[object]]:
            operation = figure.split("/")[1]
            await loads[figure].prepare(operation)
            call: Callable[[], Awaitable[object]] = getattr(loads[figure], operation)
            return lambda _: call()

        await answer_marks(find)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), sys.argv[2]))
