"""The contract of a generated node, as the generated module states it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from google.protobuf.message import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex.v1 import common_pb2

Q_co = TypeVar("Q_co", bound=Message, covariant=True)
R_co = TypeVar("R_co", bound=Message, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rpc(Generic[Q_co, R_co]):
    """One rpc of a generated node.

    Attributes:
        service: full name of the service, e.g. shop.v1.OrderService.
        name: as the proto has it, e.g. PayOrder.
        method: name of the Python method, e.g. pay_order.
        request: type of the request's message.
        response: type of the response's message.
        request_streaming: whether the client sends a stream.
        response_streaming: whether the server sends a stream.
        timeout: seconds; None where the contract sets none.
        idempotent: whether an effect may be repeated.
        retry: how an idempotent effect, or the calls of an orchestrator's rpc, are repeated; None
            for the default.
        cacheable: whether a calculation's answer may come from memory.
        in_thread: whether a calculation runs beside the event loop.
    """

    service: str
    name: str
    method: str
    request: type[Q_co]
    response: type[R_co]
    request_streaming: bool = False
    response_streaming: bool = False
    timeout: float | None = None
    idempotent: bool = False
    retry: common_pb2.RetryPolicy | None = None
    cacheable: bool = False
    in_thread: bool = False

    @property
    def path(self) -> str:
        """As HTTP/2 has it, `/package.Service/Rpc`."""
        return f"/{self.service}/{self.name}"

    @property
    def full_name(self) -> str:
        """As the generic door has it, `package.Service/Rpc`."""
        return f"{self.service}/{self.name}"

    def check_request(self, request: Message) -> None:
        """Raises TypeError for a message of another type, which might be read as one of this."""
        if not isinstance(request, self.request):
            raise TypeError(
                f"{self.full_name} takes a {self.request.__name__}, not a {type(request).__name__}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What a service's options and rpcs make of a node.

    Attributes:
        service: full name of the service.
        kind: of the node.
        name: the node's name among those of its kind.
        version: semantic version.
        fingerprint: `version:12hex` over rpcs, messages and options.
        depends_on: the nodes that it calls, as `kind/name`.
        emits: the rpcs of effects that it may ask for, as `package.Service/Rpc`.
        key: path of the text field of every request that names entity or workflow; empty for none.
        constrained: whether its messages have constraints of buf.validate.
        rpcs: in the order of the proto.
        source: path of the proto, for messages that name the command to run.
    """

    service: str
    kind: common_pb2.NodeType.ValueType
    name: str
    version: str
    fingerprint: str
    depends_on: Sequence[str] = ()
    emits: Sequence[str] = ()
    key: str = ""
    constrained: bool = False
    rpcs: Sequence[Rpc[Message, Message]]
    source: str
