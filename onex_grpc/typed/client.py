"""Typed clients: their base, and how their calls reach a node."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias, TypeVar

from google.protobuf.message import Message

from onex_grpc.contract.node import kind_name
from onex_grpc.rpc.client import Mesh
from onex_grpc.typed.calls import MeshCaller

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from onex_grpc.typed.contract import Contract, Rpc

Q = TypeVar("Q", bound=Message)
R = TypeVar("R", bound=Message)

Requests: TypeAlias = Iterable[Q] | AsyncIterable[Q]
"""A stream of requests: a list of them, or an async generator."""


class Caller(Protocol):
    """Carries out the calls of a client; a timeout of None is that of the contract."""

    async def unary(
        self, rpc: Rpc[Q, R], request: Q, timeout: float | None, within: float | None = None
    ) -> R:
        """One request, one response; `within` bounds a step of a workflow, attempts and waits."""
        ...

    def server_stream(
        self, rpc: Rpc[Q, R], request: Q, timeout: float | None
    ) -> AsyncGenerator[R, None]:
        """One request, a stream of responses; closing it cancels the call."""
        ...

    async def client_stream(
        self, rpc: Rpc[Q, R], requests: Requests[Q], timeout: float | None
    ) -> R:
        """A stream of requests, one response."""
        ...

    def bidi(
        self, rpc: Rpc[Q, R], requests: Requests[Q], timeout: float | None
    ) -> AsyncGenerator[R, None]:
        """Streams both ways; closing the responses cancels the call."""
        ...


class Client:
    """Base of the generated clients."""

    contract: ClassVar[Contract]

    def __init__(self, caller: Mesh | Caller, target: str = "") -> None:
        """Calls nothing yet.

        Args:
            caller: the mesh, or the caller of a workflow.
            target: whom the mesh is to call, as `kind` or `kind/name`; the node of the contract
                where it is empty.

        Raises:
            TargetNotFoundError: for a target that the mesh does not know.
        """
        if isinstance(caller, Mesh):
            contract = self.contract
            target = target or f"{kind_name(contract.kind)}/{contract.name}"
            caller = MeshCaller(caller, target, contract)
        self._caller: Caller = caller
