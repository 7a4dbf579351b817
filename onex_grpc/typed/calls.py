"""The calls of a typed client over a mesh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar, cast

from google.protobuf.message import Message

from onex.v1 import common_pb2
from onex_grpc.errors import ContractValidationError, Violation
from onex_grpc.typed.feeding import Feeding
from onex_grpc.typed.repeating import repeated

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    import grpc

    from onex_grpc.rpc.client import Mesh
    from onex_grpc.rpc.stream import ClientStream
    from onex_grpc.typed.client import Requests
    from onex_grpc.typed.contract import Contract, Rpc

    Unary = Callable[..., Awaitable[Message]]
    Streaming = Callable[..., ClientStream[Message]]

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

_ORCHESTRATOR: Final = common_pb2.NODE_TYPE_ORCHESTRATOR


class _Stub:
    """The methods of a contract over a channel, by the name of the rpc."""

    def __init__(self, contract: Contract, channel: grpc.aio.Channel) -> None:
        self.methods = {rpc.name: _method(rpc, channel) for rpc in contract.rpcs}


def _method(rpc: Rpc[Message, Message], channel: grpc.aio.Channel) -> object:
    write, read = rpc.request.SerializeToString, rpc.response.FromString
    if not rpc.request_streaming:
        if not rpc.response_streaming:
            return channel.unary_unary(rpc.path, write, read)
        return channel.unary_stream(rpc.path, write, read)
    if not rpc.response_streaming:
        return channel.stream_unary(rpc.path, write, read)
    return channel.stream_stream(rpc.path, write, read)


class _StubType:
    """Makes the stub of a contract, as a generated stub class does."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract

    def __call__(self, channel: grpc.aio.Channel) -> _Stub:
        return _Stub(self.contract, channel)


# The mesh keeps a stub for each type of stub: so there is one type for each contract.
_stub_types: Final[dict[str, _StubType]] = {}


def _stub_type(contract: Contract) -> _StubType:
    known = _stub_types.get(contract.service)
    if known is None or known.contract is not contract:
        known = _stub_types[contract.service] = _StubType(contract)
    return known


class MeshCaller:
    """Calls a target of a mesh; a call without a timeout of its own takes that of the contract."""

    def __init__(self, mesh: Mesh, target: str, contract: Contract) -> None:
        # Kept: a mesh that nobody holds closes its connections.
        self._mesh = mesh
        self._methods = mesh.stub(_stub_type(contract), target).methods
        # A workflow that is asked for again is joined, at whichever of its node's processes.
        self._repeats = contract.kind == _ORCHESTRATOR and mesh.has_several(target)

    async def unary(
        self, rpc: Rpc[Q, R], request: Q, timeout: float | None, within: float | None = None
    ) -> R:
        """One request, one response; raises the server's OnexError.

        A workflow is asked for again where one of several processes is gone or goes.

        Raises:
            ContractValidationError: for a `within`, which only the steps of a workflow have.
        """
        if within is not None:
            raise ContractValidationError.of(
                Violation("within", "bounds a step of a workflow; outside of one give a timeout")
            )
        rpc.check_request(request)
        call = cast("Unary", self._methods[rpc.name])
        timeout = rpc.timeout if timeout is None else timeout
        if self._repeats:
            return cast("R", await repeated(lambda left: call(request, timeout=left), timeout))
        return cast("R", await call(request, timeout=timeout))

    async def server_stream(
        self, rpc: Rpc[Q, R], request: Q, timeout: float | None
    ) -> AsyncGenerator[R, None]:
        """One request, a stream of responses; the call begins with the first look at them."""
        rpc.check_request(request)
        call = cast("Streaming", self._methods[rpc.name])(
            request, timeout=rpc.timeout if timeout is None else timeout
        )
        try:
            async for response in call:
                yield cast("R", response)
        finally:
            call.cancel()

    async def client_stream(
        self, rpc: Rpc[Q, R], requests: Requests[Q], timeout: float | None
    ) -> R:
        """A stream of requests, one response; a fault of the requests' source is raised again."""
        async with self._fed(rpc, requests, timeout) as call:
            return cast("R", await call)

    async def bidi(
        self, rpc: Rpc[Q, R], requests: Requests[Q], timeout: float | None
    ) -> AsyncGenerator[R, None]:
        """Streams both ways; the call begins with the first look at the responses."""
        async with self._fed(rpc, requests, timeout) as call:
            async for response in call:
                yield cast("R", response)

    def _fed(self, rpc: Rpc[Q, R], requests: Requests[Q], timeout: float | None) -> Feeding:
        method = cast("Streaming", self._methods[rpc.name])
        timeout = rpc.timeout if timeout is None else timeout
        return Feeding(lambda: method(timeout=timeout), requests, rpc.check_request)
