"""What all four kinds of node have in common: a descriptor, a container, services."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from onex.v1 import common_pb2, node_pb2
from onex_grpc.contract.node import check_descriptor, node_name
from onex_grpc.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import grpc.aio

    from onex_grpc.container import ModelONEXContainer

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Service:
    """A gRPC service that a node offers: what `Server.add` takes. Build it with `Service.of`."""

    register: Callable[[object, grpc.aio.Server], None]
    servicer: object

    @classmethod
    def of(cls, register: Callable[[S, grpc.aio.Server], None], servicer: S) -> Service:
        """The service of a generated `add_*_to_server` and a servicer that fits it."""
        return cls(cast("Callable[[object, grpc.aio.Server], None]", register), servicer)


class Node:
    """A node of the mesh; users inherit from one of the four kinds and give it a `descriptor`.

    The descriptor is checked when the class is made: a wrong one raises ConfigurationError, a
    dependency against the flow FlowViolationError.
    """

    kind: ClassVar[common_pb2.NodeType.ValueType] = common_pb2.NODE_TYPE_UNSPECIFIED
    descriptor: ClassVar[node_pb2.NodeDescriptor]

    def __init_subclass__(cls, **arguments: object) -> None:
        super().__init_subclass__(**arguments)
        own = cls.__dict__.get("descriptor")
        if isinstance(own, node_pb2.NodeDescriptor):
            cls.descriptor = _complete(own, cls.kind)

    def __init__(self, container: ModelONEXContainer) -> None:
        if not hasattr(type(self), "descriptor"):
            raise ConfigurationError(
                f"{type(self).__name__} has no descriptor; give it one with name and version"
            )
        self.container = container

    @property
    def name(self) -> str:
        """The full name of the node, as `kind/name`."""
        return node_name(self.descriptor)

    def services(self) -> Sequence[Service]:
        """The gRPC services of this node; its own besides those of its kind."""
        return ()

    def operations(self) -> Sequence[str]:
        """What the node can do, for its description: algorithms, actions, targets."""
        return ()

    async def start(self) -> None:
        """Begins background work; called before the node serves."""

    async def stop(self) -> None:
        """Ends background work; called after the last call has been answered."""

    async def dependencies(self) -> Mapping[str, bool]:
        """Whether what the node needs answers, by name; asked for by GetNodeHealth."""
        return {}


def _complete(
    descriptor: node_pb2.NodeDescriptor, kind: common_pb2.NodeType.ValueType
) -> node_pb2.NodeDescriptor:
    complete = node_pb2.NodeDescriptor()
    complete.CopyFrom(descriptor)
    if complete.node_type not in (common_pb2.NODE_TYPE_UNSPECIFIED, kind):
        raise ConfigurationError(
            f"the descriptor of node {complete.name!r} has another node_type than its class;"
            " leave it unset"
        )
    complete.node_type = kind
    check_descriptor(complete)
    return complete
