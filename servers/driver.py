"""Sends one workflow an order into the mesh, and waits for the last of their intents."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from onex.v1 import intent_pb2, intent_pb2_grpc
from onex_grpc.context import CallContext, enter_call
from onex_grpc.errors import (
    CallCancelledError,
    ContractValidationError,
    OnexError,
    UnavailableError,
)
from orders.v1.fulfilment_onex import FulfilmentClient
from orders.v1.fulfilment_pb2 import FulfilOrderRequest
from servers.orders_file import OrderRow, OrdersFile, RowError

if TYPE_CHECKING:
    from onex_grpc.rpc import Mesh

_IN_FLIGHT = 16
_ORDER_SECONDS = 120.0
_PAUSE_SECONDS = 0.1

Rows = Mapping[int, OrderRow | RowError]


class Driver:
    """An outside client of the mesh: it knows a file and line numbers, nothing else.

    `progress` is called with the number of orders that have ended.
    """

    def __init__(self, mesh: Mesh, orders: OrdersFile, progress: Callable[[int], None]) -> None:
        self._mesh = mesh
        self._orders = orders
        self._progress = progress
        self._ended = 0
        self.rejected: dict[int, ContractValidationError] = {}
        # The one order whose trace is recorded, whatever the sampling of the others.
        self.traced = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"

    async def run(self, rows: Rows) -> None:
        """Processes every line of the file; what fails for good stands in `rejected`."""
        first = next(iter(rows), None)
        # A line that repeats an order's id comes when the order itself is done, so that it wins.
        orders = [line for line, row in rows.items() if isinstance(row, OrderRow)]
        faulty = [line for line, row in rows.items() if isinstance(row, RowError)]
        for lines in (orders, faulty):
            await self._run_lines(iter(lines), first)

    async def _run_lines(self, lines: Iterator[int], first: int | None) -> None:
        workers = [asyncio.create_task(self._worker(lines, first)) for _ in range(_IN_FLIGHT)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()

    async def _worker(self, lines: Iterator[int], traced: int | None) -> None:
        client = FulfilmentClient(self._mesh)
        for line in lines:
            traceparent = self.traced if line == traced else ""
            enter_call(CallContext(str(uuid.uuid4()), traceparent=traceparent))
            request = FulfilOrderRequest(
                workflow_id=f"orders-{self._orders.fingerprint}-{line}",
                file=self._orders.path.name,
                line=line,
            )
            try:
                await _call_until_answered(client, request)
            except ContractValidationError as fault:
                self.rejected[line] = fault
            self._ended += 1
            self._progress(self._ended)

    async def intents_done(self) -> None:
        """Returns when the reducer's queue has neither waiting nor running intents.

        Raises:
            OnexError: when intents ended in the dead letters.
        """
        queue = self._mesh.stub(intent_pb2_grpc.IntentQueueServiceStub, "reducer")
        enter_call(CallContext(str(uuid.uuid4())))
        async with asyncio.timeout(_ORDER_SECONDS):
            while True:
                try:
                    stats = await queue.GetQueueStats(intent_pb2.GetQueueStatsRequest(), timeout=10)
                except (UnavailableError, CallCancelledError):
                    stats = intent_pb2.GetQueueStatsResponse(pending=1)
                if stats.dead:
                    raise OnexError(f"{stats.dead} intents are in the dead letters")
                if not stats.pending and not stats.in_flight:
                    return
                await asyncio.sleep(_PAUSE_SECONDS)


async def _call_until_answered(client: FulfilmentClient, request: FulfilOrderRequest) -> None:
    # Sent again, the workflow is joined, never run twice; so a lost orchestrator costs only time.
    async with asyncio.timeout(_ORDER_SECONDS):
        while True:
            try:
                await client.fulfil_order(request, timeout=_ORDER_SECONDS)
            except (UnavailableError, CallCancelledError):
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                return
