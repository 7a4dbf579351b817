"""What a running workflow has answered so far, for whoever follows it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onex_grpc.errors import StateUpdateConflictError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex.v1 import common_pb2


@dataclass(slots=True)
class Given:
    """How many responses a follower has, and of which run of the workflow."""

    count: int = 0
    run: int | None = None


class Answers:
    """The durable responses of one workflow, in their order."""

    def __init__(self) -> None:
        self._responses: list[common_pb2.Data] = []
        self._run: int | None = None
        self._ended = False
        self._news = asyncio.Event()

    def publish(self, responses: Sequence[common_pb2.Data], *, run: int) -> None:
        """Takes over all responses that are durable; those known already among them.

        Those of another run take the place of all that were known.
        """
        if run != self._run:
            self._run, self._responses = run, list(responses)
            self._tell()
        elif len(responses) > len(self._responses):
            self._responses.extend(responses[len(self._responses) :])
            self._tell()

    def end(self) -> None:
        """Says that no more will come."""
        self._ended = True
        self._tell()

    async def after(self, given: Given) -> Sequence[common_pb2.Data]:
        """The responses that a follower lacks, at least one; none at the end.

        Raises:
            StateUpdateConflictError: when the workflow was rolled back since it got its first.
        """
        while True:
            if self._run is not None and given.run != self._run:
                if given.count:
                    raise StateUpdateConflictError(
                        "the workflow was rolled back: what it has answered so far may not hold"
                        " any more; ask again"
                    )
                given.run = self._run
            if len(self._responses) > given.count or self._ended:
                return self._responses[given.count :]
            await self._news.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()
