"""NodeService, on every process: what the node is, and how it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import psutil
from google.protobuf.duration_pb2 import Duration

from onex.v1 import node_pb2, node_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from onex_grpc.node.base import Node
    from onex_grpc.rpc.calls import CallRuntime
    from onex_grpc.serve.settings import LimitSettings

USAGE_LIMIT: Final = 0.9
"""Share of a resource above which a node is DEGRADED."""
ERROR_LIMIT: Final = 0.1
"""Share of failed calls above which a node is DEGRADED."""
ERROR_SAMPLE: Final = 20
"""Calls in the last minute below which their error rate says nothing."""


class Usage:
    """How much of what it may use a process uses: CPU of one core, memory, calls in flight."""

    _SHORTEST: Final = 1.0

    def __init__(self, limits: LimitSettings) -> None:
        self._limits = limits
        self._process = psutil.Process()
        self._memory = limits.memory_bytes or psutil.virtual_memory().total
        self._cpu = 0.0
        self._taken = time.monotonic()
        # The first call only begins the measurement.
        self._process.cpu_percent()

    def largest(self, in_flight: int) -> float:
        """The largest of the three shares; 1.0 is all of it."""
        return max(
            self._cpu_share(),
            self._process.memory_info().rss / self._memory,
            in_flight / self._limits.concurrent_calls,
        )

    def _cpu_share(self) -> float:
        # Over less than a second the figure would be noise.
        now = time.monotonic()
        if now - self._taken >= self._SHORTEST:
            self._taken = now
            self._cpu = self._process.cpu_percent() / 100
        return self._cpu


class NodeServicer(node_pb2_grpc.NodeServiceServicer):
    """Answers for the node of this process.

    Attributes:
        descriptor: the node as it is served: name, services and operations filled in.
    """

    def __init__(
        self,
        node: Node,
        descriptor: node_pb2.NodeDescriptor,
        runtime: CallRuntime,
        limits: LimitSettings,
        is_serving: Callable[[], bool],
    ) -> None:
        self.descriptor = descriptor
        self._node = node
        self._runtime = runtime
        self._usage = Usage(limits)
        self._is_serving = is_serving
        self._started = time.monotonic()

    def describe(self, services: Sequence[str]) -> None:
        """Fills in what the process serves and what its node can do."""
        self.descriptor.services[:] = sorted(services)
        self.descriptor.operations[:] = sorted(self._node.operations())

    async def DescribeNode(
        self, request: node_pb2.DescribeNodeRequest, context: object
    ) -> node_pb2.DescribeNodeResponse:
        """The node's descriptor."""
        return node_pb2.DescribeNodeResponse(node=self.descriptor)

    async def GetNodeHealth(
        self, request: node_pb2.GetNodeHealthRequest, context: object
    ) -> node_pb2.GetNodeHealthResponse:
        """The figures of the moment and their verdict."""
        load = self._runtime.load()
        health = node_pb2.NodeHealthStatus(
            dependencies=await self._node.dependencies(),
            resource_usage=self._usage.largest(self._runtime.active),
            error_rate=load.error_rate if load.finished >= ERROR_SAMPLE else 0.0,
            uptime=_duration(time.monotonic() - self._started),
        )
        health.status = judge(health, serving=self._is_serving())
        return node_pb2.GetNodeHealthResponse(health=health)


def judge(health: node_pb2.NodeHealthStatus, *, serving: bool) -> node_pb2.HealthStatus.ValueType:
    """The verdict over a node's figures: DEGRADED where one is beyond its limit, yet it serves."""
    if not serving:
        return node_pb2.HEALTH_STATUS_UNHEALTHY
    degraded = (
        not all(health.dependencies.values())
        or health.resource_usage > USAGE_LIMIT
        or health.error_rate > ERROR_LIMIT
    )
    return node_pb2.HEALTH_STATUS_DEGRADED if degraded else node_pb2.HEALTH_STATUS_HEALTHY


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
