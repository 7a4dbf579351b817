"""The processes of `bench.call`: a collector, servers and clients, bare and with everything on.

Run as `python -m bench.call_roles sink`, `… serve KIND` or `… drive KIND PORT`, where KIND is bare,
full, typed or generic; the first two print their port, a driver answers each line
`CALLS CONCURRENCY` with the seconds it took.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import grpc
import uvloop
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc

from bench.answering import answer_lines
from onex.v1 import common_pb2, compute_pb2, compute_pb2_grpc
from onex_grpc.container import ModelONEXContainer
from onex_grpc.context import CallContext, LeaseClaim, enter_call
from onex_grpc.contract import data
from onex_grpc.lease.admission import LeaseAdmission
from onex_grpc.lease.keys import PinnedKeys, SigningKey
from onex_grpc.lease.token import sign_token
from onex_grpc.lease.verifier import TokenVerifier
from onex_grpc.node import Service
from onex_grpc.rpc import CallRuntime, ClientOptions, Mesh, Server, ServerOptions
from onex_grpc.store.model import LeaseGrant
from onex_grpc.telemetry import Telemetry
from orders.v1 import orders_pb2, pricing_pb2
from orders.v1.pricing_onex import PricingClient, PricingCompute

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

_KEY: Final = SigningKey.of(bytes(range(32)))
_OPTIONS: Final = [("grpc.so_reuseport", 0)]


class ComputeServicer(compute_pb2_grpc.ComputeNodeServiceServicer):
    """The work of a call, the same bare and full: next to none."""

    async def ExecuteCompute(
        self, request: compute_pb2.ModelContractCompute, context: object
    ) -> compute_pb2.ModelComputeOutput:
        """Answers with the input."""
        return compute_pb2.ModelComputeOutput(
            correlation_id=request.correlation_id, processed_data=request.input_data
        )

    async def ExecuteComputeStream(
        self, request_iterator: AsyncIterator[compute_pb2.ModelContractCompute], context: object
    ) -> AsyncIterator[compute_pb2.ModelComputeOutput]:
        """Answers each request."""
        async for request in request_iterator:
            yield await self.ExecuteCompute(request, context)


class Pricing(PricingCompute):
    """The same work behind the typed door."""

    def parse_line(self, request: pricing_pb2.ParseLineRequest) -> pricing_pb2.ParseLineResponse:
        """Answers with the input."""
        return pricing_pb2.ParseLineResponse(line=orders_pb2.OrderLine(customer_id=request.text))

    def price_order(self, request: pricing_pb2.PriceOrderRequest) -> pricing_pb2.PriceOrderResponse:
        """Nobody asks."""
        return pricing_pb2.PriceOrderResponse()


class _Traces(trace_grpc.TraceServiceServicer):
    def Export(
        self, request: trace_pb2.ExportTraceServiceRequest, context: object
    ) -> trace_pb2.ExportTraceServiceResponse:
        return trace_pb2.ExportTraceServiceResponse()


class _Metrics(metrics_grpc.MetricsServiceServicer):
    def Export(
        self, request: metrics_pb2.ExportMetricsServiceRequest, context: object
    ) -> metrics_pb2.ExportMetricsServiceResponse:
        return metrics_pb2.ExportMetricsServiceResponse()


def sink() -> None:
    """Takes what is exported, and forgets it."""
    server = grpc.server(ThreadPoolExecutor(2), options=_OPTIONS)
    trace_grpc.add_TraceServiceServicer_to_server(  # type: ignore[no-untyped-call]
        _Traces(), server
    )
    metrics_grpc.add_MetricsServiceServicer_to_server(  # type: ignore[no-untyped-call]
        _Metrics(), server
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


async def serve_bare() -> None:
    """grpc.aio and nothing else."""
    server = grpc.aio.server(options=_OPTIONS)
    compute_pb2_grpc.add_ComputeNodeServiceServicer_to_server(ComputeServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


async def serve_full() -> None:
    """The SDK's server: lease admission, checks, telemetry as the environment sets it."""
    add = compute_pb2_grpc.add_ComputeNodeServiceServicer_to_server
    await _serve([Service.of(add, ComputeServicer())])


async def serve_typed() -> None:
    """The same with a generated node."""
    await _serve(Pricing(ModelONEXContainer()).services())


async def _serve(services: Sequence[Service]) -> None:
    runtime = CallRuntime(
        node="compute/bench",
        telemetry=Telemetry.from_environment(node="compute/bench"),
        admissions=[LeaseAdmission(TokenVerifier(PinnedKeys.of(_KEY)))],
    )
    server = Server(runtime, ServerOptions())
    for service in services:
        server.add(service.register, service.servicer)
    print(await server.start(), flush=True)
    await server.wait_stopped()


def _request() -> compute_pb2.ModelContractCompute:
    request = compute_pb2.ModelContractCompute(
        correlation_id=str(uuid.uuid4()),
        algorithm_config=compute_pb2.AlgorithmConfig(algorithm_type="sum"),
        input_data=common_pb2.Data(),
    )
    request.input_data.value.list_value.extend([1, 2, 3, 4, 5])
    return request


def _context(number: int, correlation_id: str) -> CallContext:
    """The call of an orchestrator's workflow: under a lease, as an action."""
    workflow_id = f"order-{number}"
    lease_id = str(uuid.UUID(int=number + 1))
    grant = LeaseGrant(workflow_id, lease_id, 7, "orchestrator/bench", 30_000_000, 3_600_000_000, 3)
    token = sign_token(_KEY, grant, time.time())
    return CallContext(
        correlation_id=correlation_id,
        action_id=str(uuid.uuid4()),
        epoch=3,
        lease=LeaseClaim(workflow_id, lease_id, 7, token),
        workflow_id=workflow_id,
    )


async def _timed(call: Callable[[int], Awaitable[None]], calls: int, concurrency: int) -> float:
    async def work(worker: int) -> None:
        for _ in range(calls // concurrency):
            await call(worker)

    gc.collect()
    began = time.perf_counter()
    await asyncio.gather(*(work(worker) for worker in range(concurrency)))
    return time.perf_counter() - began


async def _rounds(call: Callable[[int], Awaitable[None]]) -> None:
    for concurrency in (1, 64):
        await _timed(call, 256, concurrency)

    async def answer(words: Sequence[str]) -> float:
        calls, concurrency = map(int, words)
        return await _timed(call, calls, concurrency)

    await answer_lines(answer)


async def drive_bare(port: str) -> None:
    """Calls without the SDK."""
    requests = [_request() for _ in range(64)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = compute_pb2_grpc.ComputeNodeServiceStub(channel)

        async def call(worker: int) -> None:
            await stub.ExecuteCompute(requests[worker])

        await _rounds(call)


def _mesh(port: str) -> Mesh:
    return Mesh(
        {"compute": f"127.0.0.1:{port}"},
        caller="orchestrator/bench",
        telemetry=Telemetry.from_environment(node="orchestrator/bench"),
        options=ClientOptions(default_timeout=30.0),
    )


async def drive_typed(port: str) -> None:
    """As `drive_full`, by a generated client."""
    requests = [pricing_pb2.ParseLineRequest(text="[1, 2, 3, 4, 5]") for _ in range(64)]
    contexts = [_context(i, str(uuid.uuid4())) for i in range(64)]
    client = PricingClient(_mesh(port))

    async def call(worker: int) -> None:
        enter_call(contexts[worker])
        await client.parse_line(requests[worker])

    await _rounds(call)


async def drive_generic(port: str) -> None:
    """As `drive_typed`, by the generic service of the same node."""
    asked = data.pack(pricing_pb2.ParseLineRequest(text="[1, 2, 3, 4, 5]"))
    rpc = compute_pb2.AlgorithmConfig(algorithm_type="orders.v1.PricingService/ParseLine")
    requests = [
        compute_pb2.ModelContractCompute(algorithm_config=rpc, input_data=asked) for _ in range(64)
    ]
    contexts = [_context(i, str(uuid.uuid4())) for i in range(64)]
    stub = _mesh(port).stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute")

    async def call(worker: int) -> None:
        enter_call(contexts[worker])
        await stub.ExecuteCompute(requests[worker])

    await _rounds(call)


async def drive_full(port: str) -> None:
    """Calls through the SDK's client, each under its workflow's lease and with a deadline."""
    requests = [_request() for _ in range(64)]
    contexts = [_context(i, request.correlation_id) for i, request in enumerate(requests)]
    mesh = _mesh(port)
    stub = mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute")

    async def call(worker: int) -> None:
        enter_call(contexts[worker])
        await stub.ExecuteCompute(requests[worker])

    await _rounds(call)
    await mesh.close()


_SERVE: Final = {
    "bare": serve_bare,
    "full": serve_full,
    "typed": serve_typed,
    "generic": serve_typed,
}
_DRIVE: Final = {
    "bare": drive_bare,
    "full": drive_full,
    "typed": drive_typed,
    "generic": drive_generic,
}


def main(arguments: Sequence[str]) -> None:
    """Plays the part that the arguments name."""
    match arguments:
        case ["sink"]:
            sink()
        case ["serve", kind]:
            uvloop.run(_SERVE[kind]())
        case ["drive", kind, port]:
            uvloop.run(_DRIVE[kind](port))
        case _:
            sys.exit(str(__doc__))


if __name__ == "__main__":
    main(sys.argv[1:])
