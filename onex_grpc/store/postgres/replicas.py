"""The processes of one node over one database: who they are, and whether they are still there."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from onex_grpc.store.postgres.transaction import Operation
from onex_grpc.store.wakeups import release_topic

if TYPE_CHECKING:
    from onex_grpc.store.batcher import Batcher
    from onex_grpc.store.postgres.connection import Connector
    from onex_grpc.store.postgres.reader import Reader
    from onex_grpc.store.postgres.transaction import Transaction
    from onex_grpc.store.wakeups import Wakeups

# Given back with the statement's end: it asks whether somebody has the locks of an instance's
# writer and listener, and takes nothing.
_TRY: Final = (
    "SELECT pg_try_advisory_xact_lock_shared(hashtextextended(%s, 1)) "
    "AND pg_try_advisory_xact_lock_shared(hashtextextended(%s, 6))"
)


class Replicas:
    """The part of the store that is about other processes of its node."""

    def __init__(
        self,
        connector: Connector,
        batcher: Batcher[Transaction],
        reader: Reader,
        wakeups: Wakeups,
    ) -> None:
        self._connector = connector
        self._asking = batcher
        self._looking = reader
        self._waiting = wakeups

    @property
    def instance(self) -> str:
        """The name of this process; empty where it is the only one."""
        return self._connector.instance

    async def is_gone(self, instance: str) -> bool:
        """Whether no process has a connection as an instance."""
        name = self._connector.lock_name(instance)
        row = await self._looking.read(lambda session: session.row(_TRY, (name, name)))
        return row == (True,)

    async def wait_release(self, workflow_id: str, timeout: float) -> None:
        """Asks the other processes to tell of a lease's end, and returns when one does."""
        topic = release_topic(workflow_id)
        woken = self._waiting.topic(topic)
        with contextlib.suppress(TimeoutError):
            try:
                async with asyncio.timeout(timeout):
                    await self._asking.submit_first(Operation("", lambda tx: tx.watch(topic)))
                    await woken
            finally:
                woken.cancel()
