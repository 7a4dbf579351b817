"""Operations that share one batch."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from onex_grpc.store import Store


class Together:
    """Has several operations run in one batch."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._held = threading.Event()
        self._go_on = threading.Event()
        self._holds = False

    def __call__(self, operations: int, seconds: float) -> None:
        self.sizes.append(operations)
        if self._holds:
            self._holds = False
            self._held.set()
            self._go_on.wait(10)

    async def run(
        self,
        store: Store,
        *members: Coroutine[object, object, object],
        others: Sequence[Coroutine[object, object, object]] = (),
    ) -> list[object]:
        """Their results and errors, in their order.

        Args:
            store: opened with this as its `on_batch`.
            members: operations of one batch.
            others: further operations, which may be refused before they reach it; results last.
        """
        self._held.clear()
        self._go_on.clear()
        self._holds = True
        # Held after this batch or the one before it, whose end may be told late.
        before = asyncio.ensure_future(store.get_or_create_secret("before", b""))
        assert await asyncio.to_thread(self._held.wait, 10)
        tasks = [asyncio.ensure_future(member) for member in (*members, *others)]
        await asyncio.sleep(0)
        self._go_on.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await before
        await store.get_or_create_secret("after", b"")
        assert max(self.sizes) >= len(members)
        self.sizes.clear()
        return list(results)
