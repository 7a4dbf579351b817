"""Calls between nodes: the server, the client, the in-process transport, and the one wrapper."""

from onex_grpc.rpc.calls import Admit, CallRuntime, Handler, Load, Method, Middleware
from onex_grpc.rpc.client import ClientOptions, Mesh
from onex_grpc.rpc.limits import Keepalive
from onex_grpc.rpc.local import LocalServer
from onex_grpc.rpc.server import Server, ServerOptions, is_loopback
from onex_grpc.rpc.status import error_detail, from_detail
from onex_grpc.rpc.stream import ClientStream
from onex_grpc.rpc.tls import ClientTls, ServerTls

__all__ = [
    "Admit",
    "CallRuntime",
    "ClientOptions",
    "ClientStream",
    "ClientTls",
    "Handler",
    "Keepalive",
    "Load",
    "LocalServer",
    "Mesh",
    "Method",
    "Middleware",
    "Server",
    "ServerOptions",
    "ServerTls",
    "error_detail",
    "from_detail",
    "is_loopback",
]
