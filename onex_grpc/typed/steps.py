"""The calls of a typed workflow: each one is a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, NoReturn, TypeVar, cast

from google.protobuf.message import Message

from onex_grpc.errors import ContractValidationError, UnimplementedError, Violation
from onex_grpc.workflow.calls import StepCall

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    import grpc

    from onex_grpc.rpc.client import Mesh
    from onex_grpc.typed.client import Requests
    from onex_grpc.typed.contract import Rpc
    from onex_grpc.workflow.calls import StepCalls

    Unary = Callable[..., Awaitable[Message]]

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

_DEFAULT_TIMEOUT: Final = 30.0


class _Stub(Generic[Q, R]):
    """Makes the method of one rpc, as a generated stub class makes all of a service."""

    def __init__(self, rpc: Rpc[Q, R]) -> None:
        self._rpc = rpc

    def __call__(self, channel: grpc.aio.Channel) -> Unary:
        rpc = self._rpc
        method = channel.unary_unary(
            rpc.path, rpc.request.SerializeToString, rpc.response.FromString
        )
        return cast("Unary", method)


class StepMethods:
    """The methods that an orchestrator's workflows have called; each is made once."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._stubs: dict[str, _Stub[Message, Message]] = {}

    def find(self, rpc: Rpc[Q, R], target: str) -> Unary:
        """The method of an rpc at a target; raises TargetNotFoundError."""
        stub = self._stubs.get(rpc.full_name)
        if stub is None:
            stub = self._stubs[rpc.full_name] = cast("_Stub[Message, Message]", _Stub(rpc))
        return self._mesh.stub(stub, target)


class StepCaller:
    """The caller of one node within a workflow."""

    def __init__(self, calls: StepCalls, methods: StepMethods, node: str) -> None:
        """Takes the node as `kind/name`."""
        self._calls = calls
        self._methods = methods
        self._node = node

    async def unary(
        self, rpc: Rpc[Q, R], request: Q, timeout: float | None, within: float | None = None
    ) -> R:
        """Return the response of the step, which an outage of its node only delays.

        Args:
            rpc: what is called.
            request: the request; a copy of it is sent.
            timeout: seconds that each attempt may take; None for what the contract says, else 30 s.
            within: seconds that bound the step, with all its attempts; None for no bound.

        Raises:
            DeadlineExceededError: when the step did not end within its time; its context has
                `outcome_unknown` where an effect or reducer may have done it.
            OnexError: with which the step failed for good, as the class that the node raised.
            ContractValidationError: for a `within` that is not above 0.
            TypeError: for a request of another type.
        """
        rpc.check_request(request)
        if within is not None and not within > 0:
            raise ContractValidationError.of(
                Violation("within", f"is {within!r}; give seconds above 0, or None for no bound")
            )
        bound = _bound(rpc, timeout)
        # What the handler makes of it meanwhile is not what a repeat is to send.
        sent = rpc.request()
        sent.CopyFrom(request)

        async def send() -> R:
            # Found at each attempt: the node may be away now, and be back for the next one.
            method = self._methods.find(rpc, self._node)
            return cast("R", await method(sent, timeout=bound))

        return await self._calls.call(
            StepCall(
                rpc=rpc.full_name,
                target=self._node,
                request=sent,
                response=rpc.response,
                send=send,
                within=within,
            )
        )

    def server_stream(
        self, rpc: Rpc[Q, R], request: Q, timeout: float | None
    ) -> AsyncGenerator[R, None]:
        """Not within workflows; raises UnimplementedError."""
        _refuse_stream(rpc)

    async def client_stream(
        self, rpc: Rpc[Q, R], requests: Requests[Q], timeout: float | None
    ) -> R:
        """Not within workflows; raises UnimplementedError."""
        _refuse_stream(rpc)

    def bidi(
        self, rpc: Rpc[Q, R], requests: Requests[Q], timeout: float | None
    ) -> AsyncGenerator[R, None]:
        """Not within workflows; raises UnimplementedError."""
        _refuse_stream(rpc)


def _bound(rpc: Rpc[Q, R], timeout: float | None) -> float:
    if timeout is not None:
        return timeout
    return _DEFAULT_TIMEOUT if rpc.timeout is None else rpc.timeout


def _refuse_stream(rpc: Rpc[Q, R]) -> NoReturn:
    raise UnimplementedError(
        f"{rpc.full_name} has a stream in it, and a step of a workflow is one request and one"
        " response; give the service a unary rpc for workflows"
    )
