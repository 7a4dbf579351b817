"""Notices that another instance has gone, for all who wait for its workflows."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from onex_grpc.errors import OnexError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

_log: Final = logging.getLogger(__name__)
_EVERY: Final = 1.0


@dataclass(slots=True)
class _Watch:
    task: asyncio.Task[None]
    watching: int = 0


class Presence:
    """Looks once a second whether a holder is there, as long as somebody waits for it.

    However many wait for its workflows, it is one look, and one that takes nothing.
    """

    def __init__(self, is_gone: Callable[[str], Awaitable[bool]]) -> None:
        """Takes what says whether a holder is proved gone."""
        self._is_gone = is_gone
        self._watches: dict[str, _Watch] = {}

    @asynccontextmanager
    async def watch(self, holder: str) -> AsyncIterator[asyncio.Future[None]]:
        """What ends when a holder has gone."""
        watch = self._watches.get(holder)
        if watch is None or watch.task.done():
            watch = self._watches[holder] = _Watch(asyncio.create_task(self._until_gone(holder)))
        watch.watching += 1
        try:
            yield watch.task
        finally:
            watch.watching -= 1
            if not watch.watching:
                watch.task.cancel()
                if self._watches.get(holder) is watch:
                    del self._watches[holder]

    async def _until_gone(self, holder: str) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            try:
                if await self._is_gone(holder):
                    return
            except OnexError as error:
                # Without the store nobody is proved gone, nor could anybody take over.
                _log.debug("whether %s is there cannot be seen: %s", holder, error)
