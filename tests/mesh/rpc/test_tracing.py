"""Spans of a call over real sockets: one trace, parents right, the correlation id on each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from onex_grpc.errors import AlgorithmNotFoundError
from onex_grpc.rpc import CallRuntime, Mesh, Server, ServerOptions
from onex_grpc.telemetry import SpanKind, Telemetry, names
from onex_grpc.testing.otlp import OtlpReceiver
from tests.mesh.rpc.conftest import Stub
from tests.mesh.rpc.probe import Probe, StreamProbe, add_probes, ask

if TYPE_CHECKING:
    from collections.abc import Awaitable

CORRELATION = "6f9619ff-8b86-4011-b42d-00c04fc964ff"


async def test_one_trace_of_a_call_that_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    with OtlpReceiver() as receiver:
        for name, value in receiver.environment.items():
            monkeypatch.setenv(name, value)
        telemetry = Telemetry.from_environment(node="compute/x")
        runtime = CallRuntime(node="compute/x", telemetry=telemetry)
        server, probe = Server(runtime, ServerOptions()), Probe()
        add_probes(server, probe, StreamProbe())
        mesh = Mesh({"compute": f"127.0.0.1:{await server.start()}"}, telemetry=telemetry)
        stub = mesh.stub(Stub, "compute")

        def onward() -> Awaitable[object]:
            return asyncio.ensure_future(stub.ExecuteCompute(ask("fail")))

        probe.onward = onward
        probe.error = AlgorithmNotFoundError("no such algorithm")
        with pytest.raises(AlgorithmNotFoundError):
            await stub.ExecuteCompute(ask("onward", CORRELATION))
        await mesh.close()
        await server.drain(1)
        await telemetry.shutdown(5)
        spans = await asyncio.to_thread(receiver.wait_for, 4)
    assert {span.attributes[names.CORRELATION_ID] for span in spans} == {CORRELATION}
    assert len({span.trace_id for span in spans}) == 1
    by_id = {span.span_id: span for span in spans}
    depth = {}
    for span in spans:
        above, levels = span, 0
        while above.parent_id in by_id:
            above, levels = by_id[above.parent_id], levels + 1
        depth[levels] = span.kind
    assert depth == {
        0: SpanKind.CLIENT, 1: SpanKind.SERVER, 2: SpanKind.CLIENT, 3: SpanKind.SERVER,
    }  # fmt: skip
    assert {span.attributes[names.RPC_STATUS] for span in spans} == {"NOT_FOUND"}
    assert {span.attributes[names.REASON] for span in spans} == {"ALGORITHM_NOT_FOUND"}
