"""What the generator knows of the protos: plain records, read from protoc's request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf import descriptor_pb2

    from onex.v1 import options_pb2


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands, for error messages; line from 1, 0 for unknown."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class MessageType:
    """A message and where its Python class is.

    Attributes:
        full_name: e.g. shop.v1.Order.Line, without a leading dot.
        file: path of the proto, which gives the Python module.
        path: Python path in the module, e.g. ("Order", "Line").
        proto: the descriptor.
    """

    full_name: str
    file: str
    path: Sequence[str]
    proto: descriptor_pb2.DescriptorProto


@dataclass(frozen=True, slots=True)
class EnumType:
    """An enum; `values` are name and number in the order of the proto."""

    full_name: str
    file: str
    values: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class RpcRecord:
    """One rpc with its options and its comment."""

    name: str
    method: str
    request: MessageType
    response: MessageType
    request_streaming: bool
    response_streaming: bool
    transitions: Sequence[options_pb2.TransitionOptions]
    operation: options_pb2.OperationOptions | None
    comment: str
    place: Place


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """One service that is a node."""

    service: str
    """Full name, e.g. shop.v1.OrderService."""
    base: str
    """The service's name without its suffix, e.g. Order."""
    name: str
    """The node's name, e.g. order."""
    options: options_pb2.NodeOptions
    rpcs: Sequence[RpcRecord]
    comment: str
    place: Place


@dataclass(frozen=True, slots=True)
class Schema:
    """All that one run of protoc knows.

    Attributes:
        files: by path, all of them, imports included.
        to_generate: the paths for which code is asked.
        messages: by full name.
        enums: by full name.
        nodes: by full name of the service, also those of imported files.
        constrained: full names of messages with constraints of buf.validate, their own or below.
    """

    files: Mapping[str, descriptor_pb2.FileDescriptorProto]
    to_generate: Sequence[str]
    messages: Mapping[str, MessageType]
    enums: Mapping[str, EnumType]
    nodes: Mapping[str, NodeRecord]
    constrained: frozenset[str]
