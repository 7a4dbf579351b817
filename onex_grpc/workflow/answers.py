"""What a running workflow has answered so far, for whoever follows it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex.v1 import common_pb2


class Answers:
    """The durable responses of one workflow, in their order."""

    def __init__(self) -> None:
        self._responses: list[common_pb2.Data] = []
        self._ended = False
        self._news = asyncio.Event()

    def publish(self, responses: Sequence[common_pb2.Data]) -> None:
        """Takes over all responses that are durable; those known already among them."""
        if len(responses) > len(self._responses):
            self._responses.extend(responses[len(self._responses) :])
            self._tell()

    def end(self) -> None:
        """Says that no more will come."""
        self._ended = True
        self._tell()

    async def after(self, count: int) -> Sequence[common_pb2.Data]:
        """The responses after the first so many, at least one; none at the end."""
        while len(self._responses) <= count and not self._ended:
            await self._news.wait()
        return self._responses[count:]

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
