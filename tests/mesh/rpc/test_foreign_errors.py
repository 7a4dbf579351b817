"""Whatever a foreign server ends a call with, the caller gets an error of the mesh that it can pass
on.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from onex.v1 import compute_pb2_grpc, error_pb2
from onex_grpc.errors import OnexError, Status
from onex_grpc.rpc import Mesh, direct
from onex_grpc.rpc.status import error_detail, to_status
from tests.mesh.rpc.odd_server import odd_server
from tests.mesh.rpc.probe import StreamStub, ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.message import Message

OK_TEXT = (b"grpc-message", b"said")


def details(*given: Message, code: int = 5) -> tuple[bytes, bytes]:
    proto = status_pb2.Status(code=code, message="m")
    for message in given:
        packed = proto.details.add()
        if isinstance(message, any_pb2.Any):
            packed.CopyFrom(message)
        else:
            packed.Pack(message)
    return b"grpc-status-details-bin", base64.b64encode(proto.SerializeToString()).rstrip(b"=")


def deep() -> error_pb2.ErrorDetail:
    detail = error_pb2.ErrorDetail(reason="NOT_FOUND")
    inner = detail
    for _ in range(90):
        inner = inner.causes.add(reason="LEASE_EXPIRED", status_code=200)
    return detail


INFO = error_details_pb2.ErrorInfo(domain="onex", reason="NOT_FOUND", metadata={"a": "b"})
RETRY = error_details_pb2.RetryInfo()
RETRY.retry_delay.seconds, RETRY.retry_delay.nanos = 2**62, -5
BROKEN = any_pb2.Any(type_url="type.googleapis.com/onex.v1.ErrorDetail", value=b"\xff\xff")
ODD: dict[str, tuple[Sequence[tuple[bytes, bytes]], Status]] = {
    "unknown number": ([(b"grpc-status", b"99"), OK_TEXT], Status.UNKNOWN),
    "negative": ([(b"grpc-status", b"-1"), OK_TEXT], Status.UNKNOWN),
    "no number": ([(b"grpc-status", b"five"), OK_TEXT], Status.UNKNOWN),
    "none": ([OK_TEXT], Status.UNKNOWN),
    "fine, but no answer": ([(b"grpc-status", b"0")], Status.INTERNAL),
    "not utf-8": ([(b"grpc-status", b"5"), (b"grpc-message", b"%FF%FE caf%E9")], Status.NOT_FOUND),
    "raw bytes": ([(b"grpc-status", b"5"), (b"grpc-message", b"caf\xe9")], Status.NOT_FOUND),
    "long": ([(b"grpc-status", b"5"), (b"grpc-message", b"%00" * 2000)], Status.NOT_FOUND),
    # grpc's own client gives such a call up.
    "no base64": (
        [(b"grpc-status", b"5"), (b"grpc-status-details-bin", b"AAAA!")],
        Status.UNKNOWN,
    ),
    "broken": ([(b"grpc-status", b"5"), OK_TEXT, details(INFO, BROKEN)], Status.NOT_FOUND),
    "other code": (
        [(b"grpc-status", b"10"), OK_TEXT, details(INFO, error_pb2.ErrorDetail(status_code=7))],
        Status.ABORTED,
    ),
    "info alone": ([(b"grpc-status", b"14"), OK_TEXT, details(INFO)], Status.UNAVAILABLE),
    "long wait": ([(b"grpc-status", b"5"), OK_TEXT, details(INFO, RETRY)], Status.NOT_FOUND),
    "deep": ([(b"grpc-status", b"5"), OK_TEXT, details(INFO, deep())], Status.NOT_FOUND),
}


async def unary(mesh: Mesh) -> None:
    stub = mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute/odd")
    await stub.ExecuteCompute(ask("x"), timeout=10)


async def responses(mesh: Mesh) -> None:
    async for _ in mesh.stub(StreamStub, "compute/odd").Count(ask("x"), timeout=10):
        pass


async def requests(mesh: Mesh) -> None:
    call = mesh.stub(StreamStub, "compute/odd").Collect(timeout=10)
    await call.done_writing()
    await call


# A stream of responses may be empty.
NO_STATUS = ("negative", "no number", "no base64")
CASES = [
    pytest.param(kind, form, id=f"{kind}-{form.__name__}")
    for kind in ODD
    for form in (unary, responses, requests)
    if (kind, form) != ("fine, but no answer", responses)
]


@pytest.mark.parametrize("tested", [True, False])
@pytest.mark.parametrize(("kind", "form"), CASES)
async def test_odd_endings(
    monkeypatch: pytest.MonkeyPatch, form: Any, kind: str, tested: bool
) -> None:
    if not tested:
        monkeypatch.setattr(direct, "TESTED", ((0, 0), (0, 0)))
    trailers, status = ODD[kind]
    async with odd_server(trailers) as address, Mesh({"compute/odd": address}) as mesh:
        with pytest.raises(OnexError) as raised:
            await form(mesh)
    error = raised.value
    # What is no status of gRPC's, its older versions call UNKNOWN and its newer ones INTERNAL.
    same = (status,) if kind not in NO_STATUS else (Status.UNKNOWN, Status.INTERNAL)
    assert error.status in same, error
    assert error_detail(error).status_code == error.status
    assert to_status(error).code.value[0] == error.status
    assert error.correlation_id
