"""Every failure of a handler ends its call, with a class, a reason and a bounded text; over sockets
and in this process, in each form of a call.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from onex_grpc.errors import (
    ConfigurationError,
    ContractValidationError,
    NodeUnavailableError,
    NotFoundError,
    OnexError,
    Status,
    Violation,
    WorkflowExecutionError,
)
from onex_grpc.rpc import CallRuntime, LocalServer, Mesh, Server, ServerOptions
from onex_grpc.telemetry import NO_TELEMETRY
from tests.mesh.rpc.probe import SECRET, Probe, Request, StreamProbe, StreamStub, add_probes, ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from onex_grpc.rpc.calls import Handler, Method
    from tests.mesh.rpc.conftest import Node, Stub

UNDECODABLE = b"caf\xe9.csv".decode(errors="surrogateescape")
UNTOLD = "internal error; the node's log says more under this correlation id"


class Mute(OnexError):
    """Does not call its base, and its status fails."""

    reason = "MUTE"

    def __init__(self) -> None:
        self.cause = 7

    @property
    def status(self) -> Status:
        raise RuntimeError(SECRET)

    def __str__(self) -> str:
        raise RuntimeError(SECRET)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError(SECRET)


def changed_later() -> OnexError:
    error = NotFoundError("fine")
    changed: Any = error
    changed.message = UNDECODABLE * 100_000
    changed.context["n"] = 5
    changed.correlation_id, changed.node = object(), 7
    return error


def deep() -> OnexError:
    error: OnexError = NodeUnavailableError("innermost")
    for level in range(10_000):
        error = WorkflowExecutionError(f"level {level}", causes=[error])
    return error


def circle() -> OnexError:
    error = WorkflowExecutionError("circle")
    error.causes = [error]
    return error


KINDS: dict[str, tuple[Callable[[], BaseException], Status, str]] = {
    "surrogate": (lambda: NotFoundError(UNDECODABLE), Status.NOT_FOUND, "caf\\udce9.csv"),
    "number": (lambda: Loose("m", context={"n": 5, 6: None}), Status.INTERNAL, "m"),
    "nothing": (lambda: Loose(None), Status.INTERNAL, "None"),
    "bytes": (lambda: Loose(b"caf\xe9"), Status.INTERNAL, "caf\\xe9"),
    "huge": (lambda: NotFoundError("é" * 6_000_000), Status.NOT_FOUND, "é" * 300),
    "nul": (lambda: NotFoundError("a\0b"), Status.NOT_FOUND, "a\\x00b"),
    "wide": (lambda: OnexError("m", causes=[deep()] * 5000), Status.INTERNAL, "m"),
    "deep": (deep, Status.INTERNAL, "level 9999"),
    "circle": (circle, Status.INTERNAL, "circle"),
    "faults": (
        lambda: ContractValidationError.of(*[Violation(UNDECODABLE, "x")] * 100_000),
        Status.INVALID_ARGUMENT,
        "caf\\udce9.csv: x; caf",
    ),
    "later": (changed_later, Status.NOT_FOUND, "caf\\udce9.csvcaf"),
    "wait": (lambda: Loose("m", retry_after=float("nan")), Status.INTERNAL, "m"),
    "mute": (Mute, Status.INTERNAL, "Mute"),
    "python": (lambda: ValueError(UNDECODABLE + SECRET), Status.INTERNAL, UNTOLD),
    "unprintable": (Unprintable, Status.INTERNAL, UNTOLD),
    "group": (lambda: ExceptionGroup(SECRET, [Unprintable()]), Status.INTERNAL, UNTOLD),
}


def Loose(message: object, **given: object) -> OnexError:
    """An error made by code that is not typed."""
    made: Any = OnexError
    error = made(message, **given)
    assert isinstance(error, OnexError)
    return error


async def unary(node: Node, error: BaseException) -> None:
    node.probe.error = error
    await node.stub.ExecuteCompute(ask("fail"), timeout=10)


async def responses(node: Node, error: BaseException) -> None:
    node.streams.error = error
    seen = [r async for r in node.stream_stub.Count(ask("echo", size=2), timeout=10)]
    assert len(seen) == 2


async def requests(node: Node, error: BaseException) -> None:
    node.streams.error = error
    await node.stream_stub.Collect(three(), timeout=10)


async def both(node: Node, error: BaseException) -> None:
    node.streams.error = error
    async for _ in node.stream_stub.Echo(three(), timeout=10):
        pass


async def three() -> AsyncIterator[Request]:
    for _ in range(3):
        yield ask("echo")


@pytest.mark.parametrize("form", [unary, responses, requests, both])
@pytest.mark.parametrize("kind", KINDS)
async def test_every_error_ends_its_call(
    node: Node, form: Any, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    make, status, text = KINDS[kind]
    with pytest.raises(OnexError) as raised:
        await form(node, make())
    error = raised.value
    assert error.status is status
    assert error.message.startswith(text)
    assert error.node == ("7" if kind == "later" else "compute/probe")
    assert error.correlation_id
    assert SECRET not in repr(vars(error))
    assert "Logging error" not in capfd.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
async def test_clients_of_others_get_a_reason(raw: Stub, network: Node, kind: str) -> None:
    make, status, _ = KINDS[kind]
    network.probe.error = make()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await raw.ExecuteCompute(ask("fail"), timeout=10)
    assert raised.value.code().value[0] == status
    trailing = raised.value.trailing_metadata()
    assert trailing is not None
    proto = status_pb2.Status.FromString(bytes(trailing["grpc-status-details-bin"]))  # type: ignore[arg-type]
    info = error_details_pb2.ErrorInfo()
    assert proto.details[0].Unpack(info)
    assert (info.domain, bool(info.reason)) == ("onex", True)


async def set_text(context: Any) -> None:
    context.set_code(grpc.StatusCode.NOT_FOUND)
    context.set_details(UNDECODABLE)


async def set_long(context: Any) -> None:
    context.set_code(grpc.StatusCode.NOT_FOUND)
    context.set_details("é" * 20_000)


async def abort(context: Any) -> None:
    await context.abort(grpc.StatusCode.NOT_FOUND, UNDECODABLE)


async def set_number(context: Any) -> None:
    context.set_code(77)


async def abort_number(context: Any) -> None:
    await context.abort(5, "m")


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (set_text, NotFoundError),
        (set_long, NotFoundError),
        (abort, NotFoundError),
        (set_number, ConfigurationError),
        (abort_number, ConfigurationError),
    ],
)
async def test_a_status_that_cannot_be_sent_ends_the_call(
    node: Node, ending: Any, kind: type[OnexError]
) -> None:
    node.probe.ending = ending
    with pytest.raises(kind):
        await node.stub.ExecuteCompute(ask("status"), timeout=10)


def failing(method: Method, handler: Handler) -> Handler:
    """Middleware that fails in its own way."""

    async def fail(request: Any, context: Any) -> Any:
        raise Loose(UNDECODABLE, context={"n": 5})

    async def fail_streaming(request: Any, context: Any) -> Any:
        raise Loose(UNDECODABLE, context={"n": 5})
        yield

    return fail_streaming if method.response_streaming else fail


@pytest.mark.parametrize("local", [True, False])
async def test_errors_of_middleware(local: bool) -> None:
    runtime = CallRuntime(node="compute/probe", telemetry=NO_TELEMETRY, middleware=[failing])
    server = LocalServer(runtime) if local else Server(runtime, ServerOptions())
    add_probes(server, Probe(), StreamProbe())
    where = server if isinstance(server, LocalServer) else f"127.0.0.1:{await server.start()}"
    async with Mesh({"compute/probe": where}, caller="orchestrator/test") as mesh:
        stub = mesh.stub(StreamStub, "compute/probe")
        calls = [stub.Collect(three(), timeout=10), anext(aiter(stub.Count(ask("x"), timeout=10)))]
        for call in calls:
            with pytest.raises(OnexError) as raised:
                await call
            assert (raised.value.message, raised.value.context) == ("caf\\udce9.csv", {"n": "5"})
    await server.drain(0.0)


class Ended(BaseException):
    """Not for the mesh, as SystemExit."""


async def test_what_ends_the_process_ends_the_call_as_well(local: Node) -> None:
    loop = asyncio.get_running_loop()
    told: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: told.append(context))
    local.probe.error = Ended()
    with pytest.raises(OnexError) as raised:
        await local.stub.ExecuteCompute(ask("fail"), timeout=10)
    assert raised.value.status is Status.INTERNAL
