"""The figures of a queue as its service tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex.v1 import intent_pb2

if TYPE_CHECKING:
    from onex_grpc.intent.connected import ConnectedWorkers
    from onex_grpc.store.model import PriorityStats, QueueStats, RouteStats


def queue_figures(
    stats: QueueStats, connected: ConnectedWorkers
) -> intent_pb2.GetQueueStatsResponse:
    """What the store counted, and the workers that are connected for each route."""
    workers = connected.count([row.route for row in stats.routes])
    response = intent_pb2.GetQueueStatsResponse(
        pending=stats.pending,
        in_flight=stats.in_flight,
        completed=stats.completed,
        dead=stats.dead,
        cancelled=stats.cancelled,
        priorities=[_priority(row) for row in stats.priorities],
        routes=[_route(row, count) for row, count in zip(stats.routes, workers, strict=True)],
    )
    if stats.oldest_pending_us is not None:
        response.oldest_pending_age.FromMicroseconds(stats.oldest_pending_us)
    return response


def _priority(row: PriorityStats) -> intent_pb2.PriorityStats:
    told = intent_pb2.PriorityStats(
        priority=intent_pb2.IntentPriority.ValueType(row.priority),
        pending=row.pending,
        in_flight=row.in_flight,
    )
    if row.oldest_pending_us is not None:
        told.oldest_pending_age.FromMicroseconds(row.oldest_pending_us)
    return told


def _route(row: RouteStats, workers: int) -> intent_pb2.RouteStats:
    told = intent_pb2.RouteStats(route=row.route, pending=row.pending, workers=workers)
    if row.oldest_pending_us is not None:
        told.oldest_pending_age.FromMicroseconds(row.oldest_pending_us)
    return told
