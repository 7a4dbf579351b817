"""grpc.health.v1: whether a process, and each service of it, takes calls.

It stands outside of the calls' wrapper: a node that drains, or refuses for load, still says so.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import grpc
from grpc_health.v1 import health_pb2

from onex_grpc.serve.health_messages import ListRequest, ListResponse, list_response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from google.protobuf.message import Message

    Context = grpc.aio.ServicerContext[Message, Message]

SERVICE: Final = "grpc.health.v1.Health"
_SERVING: Final[int] = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final[int] = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN: Final[int] = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """The statuses of a process's services and the service that tells them; "" is the process."""

    def __init__(self) -> None:
        self._statuses: dict[str, int] = {"": _NOT_SERVING}
        self._changed = asyncio.Event()
        self._final = False
        self._fault = ""

    @property
    def fault(self) -> str:
        """Why the process takes no calls although it could; empty where it may."""
        return self._fault

    @property
    def serving(self) -> bool:
        """Whether the process takes calls."""
        return self._statuses[""] == _SERVING

    def announce(self, services: Iterable[str]) -> None:
        """Makes services known, not serving yet."""
        self._put(dict.fromkeys(services, _NOT_SERVING))

    def begin_serving(self) -> None:
        """Makes every service known SERVING."""
        if not self._final and not self._fault:
            self._put(dict.fromkeys(self._statuses, _SERVING))

    def fail(self, fault: str) -> None:
        """Makes every service NOT_SERVING until the process ends, and says why."""
        self._fault = fault
        self._put(dict.fromkeys(self._statuses, _NOT_SERVING))

    def end_serving(self) -> None:
        """Makes every service NOT_SERVING for good; watchers are told, and their streams end."""
        self._final = True
        self._put(dict.fromkeys(self._statuses, _NOT_SERVING))

    async def check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """The status of a service; NOT_FOUND for an unknown one."""
        status = self._statuses.get(request.service)
        if status is None:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"no service {request.service!r} is served here"
            )
        return health_pb2.HealthCheckResponse(status=status)

    async def watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status of a service now and at each change; SERVICE_UNKNOWN for an unknown one."""
        last = None
        while True:
            changed = self._changed
            status = self._statuses.get(request.service, _UNKNOWN)
            if status != last:
                yield health_pb2.HealthCheckResponse(status=status)
                last = status
            if self._final:
                return
            await changed.wait()

    async def list(self, request: Message, context: Context) -> Message:
        """The status of every service."""
        return list_response(dict(self._statuses))

    def _put(self, statuses: dict[str, int]) -> None:
        self._statuses.update(statuses)
        self._changed.set()
        self._changed = asyncio.Event()


def add_health(health: Health, server: grpc.aio.Server) -> None:
    """Adds Check, Watch and List to a server, as the generated functions add their services."""
    check, response = health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
    handlers: dict[str, grpc.RpcMethodHandler[Message, Message]] = {
        "Check": grpc.unary_unary_rpc_method_handler(
            health.check, check.FromString, response.SerializeToString
        ),
        "Watch": grpc.unary_stream_rpc_method_handler(
            health.watch, check.FromString, response.SerializeToString
        ),
        "List": grpc.unary_unary_rpc_method_handler(
            health.list, ListRequest.FromString, ListResponse.SerializeToString
        ),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    server.add_registered_method_handlers(SERVICE, handlers)
