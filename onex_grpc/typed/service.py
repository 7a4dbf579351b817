"""The typed door of a node: the service of its contract, beside the one of its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from onex_grpc.errors import ConfigurationError
from onex_grpc.node.base import Service

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from onex_grpc.rpc.calls import Handler
    from onex_grpc.typed.contract import Contract, Rpc


def typed_service(contract: Contract, handlers: Mapping[str, Handler]) -> Service:
    """The service of a contract, to be added to a server as a generated one is.

    Args:
        contract: what the service has.
        handlers: by the name of the rpc; each gets the request, or the iterator of requests, and
            the context, and is awaited or iterated as the rpc's response is one or a stream.

    Raises:
        ConfigurationError: for an rpc without a handler.
    """
    if missing := [rpc.name for rpc in contract.rpcs if rpc.name not in handlers]:
        raise ConfigurationError(f"{contract.service} has no handler for {', '.join(missing)}")

    def register(_: object, server: grpc.aio.Server) -> None:
        methods = {rpc.name: _method(rpc, handlers[rpc.name]) for rpc in contract.rpcs}
        server.add_registered_method_handlers(contract.service, methods)

    return Service(register, contract)


def _method(
    rpc: Rpc[Message, Message], handler: Handler
) -> grpc.RpcMethodHandler[Message, Message]:
    parse, write = rpc.request.FromString, rpc.response.SerializeToString
    if not rpc.request_streaming:
        if not rpc.response_streaming:
            return grpc.unary_unary_rpc_method_handler(handler, parse, write)
        return grpc.unary_stream_rpc_method_handler(handler, parse, write)
    if not rpc.response_streaming:
        return grpc.stream_unary_rpc_method_handler(handler, parse, write)
    return grpc.stream_stream_rpc_method_handler(handler, parse, write)
