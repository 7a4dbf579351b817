"""Writes that may fail, and what must be there of them afterwards."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from onex_grpc.errors import DatabaseConnectionError
from onex_grpc.store import Committed, IntentState
from tests.store.builders import WORKFLOW, action, change, intent

if TYPE_CHECKING:
    from onex_grpc.store import Store


class Ledger:
    """Writes a state of its own, an intent and an action at a time; knows what was acknowledged."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.tried = 0
        self.acknowledged: list[str] = []

    async def write(self, state: bytes) -> DatabaseConnectionError | None:
        name = f"k{self.tried}"
        self.tried += 1
        try:
            written = await self._store.commit(
                change(0, state, key=name, intents=(intent(name),), actions=(action(name),))
            )
        except DatabaseConnectionError as error:
            return error
        assert written == Committed(1)
        self.acknowledged.append(name)
        return None

    async def stored(self) -> list[str]:
        """The names of all writes that are there; each with all that belongs to it."""
        queued = await self._store.list_intents(IntentState.PENDING, 0, 10_000)
        names = {row.payload.decode() for row in queued}
        for name in (f"k{number}" for number in range(self.tried)):
            there = (await self._store.get_state(name)).version == 1
            assert there == (name in names)
            assert there == (await self._store.find_action(WORKFLOW, name) is not None)
        return sorted(names)

    async def until_it_writes(self, state: bytes) -> None:
        """Writes until that succeeds again, within seconds."""
        async with asyncio.timeout(20):
            while True:
                if await self.write(state) is None:
                    return
                await asyncio.sleep(0.05)
