"""Takes the methods of a servicer from its generated `add_…Servicer_to_server`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

import grpc

from onex_grpc.errors import ConfigurationError, ResourceExhaustedError
from onex_grpc.rpc import limits
from onex_grpc.rpc.calls import CallRuntime, Handler, Method
from onex_grpc.rpc.handler import Contract, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from google.protobuf.message import Message

    from onex_grpc.rpc.transport import Served

S = TypeVar("S")
GrpcHandler: TypeAlias = "grpc.RpcMethodHandler[Message, Message]"
OWN_SERVICES = "grpc."
"""Health, reflection and channelz: served as they are, also while draining, never waited for."""


class _Recorder:
    def __init__(self) -> None:
        self.services: dict[str, Mapping[str, GrpcHandler]] = {}

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Left out: the same methods come once more, by name."""

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, GrpcHandler]
    ) -> None:
        self.services[service_name] = method_handlers


class Registry:
    """The methods that a process serves, with responses of at most `message_bytes`.

    Attributes:
        services: full names of the services, in the order in which they were added.
    """

    def __init__(self, runtime: CallRuntime, message_bytes: int = limits.MESSAGE_BYTES) -> None:
        self.services: list[str] = []
        self._runtime = runtime
        self._message_bytes = message_bytes
        self._plain: dict[str, GrpcHandler] = {}
        self._wrapped: dict[str, tuple[Method, Served]] = {}

    def add(self, register: Callable[[S, grpc.aio.Server], None], servicer: S) -> None:
        """Adds a servicer's methods.

        Raises:
            ConfigurationError: for a service that is there already, or that nothing was found of.
        """
        recorder = _Recorder()
        register(servicer, cast("grpc.aio.Server", recorder))
        if not recorder.services:
            raise ConfigurationError(
                f"{getattr(register, '__name__', register)} registers no service; generate it "
                "with grpcio-tools 1.76 or newer"
            )
        for service, methods in recorder.services.items():
            if service in self.services:
                raise ConfigurationError(f"service {service} is added twice; add it once")
            self.services.append(service)
            for name, handler in methods.items():
                self._add_method(f"/{service}/{name}", handler)

    def _add_method(self, path: str, handler: GrpcHandler) -> None:
        if path.startswith(f"/{OWN_SERVICES}"):
            self._plain[path] = handler
            return
        method = Method(path, handler.request_streaming, handler.response_streaming)
        parse, serialize = handler.request_deserializer, handler.response_serializer
        behaviour = (
            handler.unary_unary
            or handler.unary_stream
            or handler.stream_unary
            or handler.stream_stream
        )
        if parse is None or serialize is None or behaviour is None:
            raise ConfigurationError(f"method {path} has no messages; register generated code")
        contract = Contract(method, parse, _limited(method, serialize, self._message_bytes))
        self._wrapped[path] = method, wrap(self._runtime, contract, cast("Handler", behaviour))

    def find(self, path: str) -> tuple[Method, Served] | None:
        """The wrapped method of a path; None for an unknown one."""
        return self._wrapped.get(path)

    def grpc_handlers(self) -> Mapping[str, object]:
        """All methods by path, as a grpc server takes them."""
        wrapped = {
            path: _grpc_handler(method, served) for path, (method, served) in self._wrapped.items()
        }
        return {**self._plain, **wrapped}


def _limited(
    method: Method, serialize: Callable[[Message], bytes], limit: int
) -> Callable[[Message], bytes]:
    """Writes messages, and refuses those that gRPC would drop with a traceback in the log."""

    def write(message: Message) -> bytes:
        raw = serialize(message)
        if len(raw) > limit:
            raise ResourceExhaustedError(
                f"the response of {method.name} has {len(raw)} bytes; at most {limit} are allowed "
                "(limits.message_bytes): ask for less, or raise the limit on both sides"
            )
        return raw

    return write


def _grpc_handler(method: Method, served: Served) -> object:
    if not method.request_streaming:
        if not method.response_streaming:
            return grpc.unary_unary_rpc_method_handler(served)
        return grpc.unary_stream_rpc_method_handler(served)
    if not method.response_streaming:
        return grpc.stream_unary_rpc_method_handler(served)
    return grpc.stream_stream_rpc_method_handler(served)
