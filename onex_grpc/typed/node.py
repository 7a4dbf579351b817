"""What the generated nodes of all kinds have in common: their contract, and the typed door."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, ClassVar

from onex.v1 import node_pb2
from onex_grpc.contract.node import kind_name
from onex_grpc.errors import ConfigurationError
from onex_grpc.node.base import Node
from onex_grpc.typed.constraints import Constraints, constraints_of
from onex_grpc.typed.form import check_forms
from onex_grpc.typed.freshness import check_fresh
from onex_grpc.typed.service import typed_service

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onex_grpc.container import ModelONEXContainer
    from onex_grpc.node.base import Service
    from onex_grpc.rpc.calls import Handler
    from onex_grpc.typed.contract import Contract


class TypedNode(Node, ABC):
    """Base of the four kinds of generated node; stands before the generic one among the bases.

    A class gets its descriptor from its `contract`. When the class is made, it raises
    ConfigurationError for a contract of another kind, for one that the proto has outgrown, and for
    a method that is `async def` where `def` is meant, or the other way round.
    """

    contract: ClassVar[Contract]

    def __init_subclass__(cls, **arguments: object) -> None:
        own: Contract | None = cls.__dict__.get("contract")
        if own is not None:
            _check_kind(cls, own)
            check_fresh(own)
            if "descriptor" not in cls.__dict__:
                cls.descriptor = node_pb2.NodeDescriptor(
                    name=own.name, version=own.version, depends_on=own.depends_on
                )
        if hasattr(cls, "contract"):
            check_forms(cls, cls.contract)
        super().__init_subclass__(**arguments)
        if hasattr(cls, "contract") and "descriptor" in cls.__dict__:
            cls.descriptor.contract.CopyFrom(_described(cls))

    def __init__(self, container: ModelONEXContainer) -> None:
        if not hasattr(type(self), "contract"):
            raise ConfigurationError(
                f"{type(self).__name__} has no contract; inherit from a class that was generated"
            )
        self._constraints: Constraints = constraints_of(self.contract)
        super().__init__(container)

    def services(self) -> Sequence[Service]:
        """The service of the kind, and the one of the contract."""
        return (*super().services(), typed_service(self.contract, self._handlers()))

    def operations(self) -> Sequence[str]:
        """Those of the kind, and the rpcs of the contract."""
        rpcs = (rpc.full_name for rpc in self.contract.rpcs)
        return tuple(dict.fromkeys((*super().operations(), *rpcs)))

    def _handlers(self) -> Mapping[str, Handler]:
        """What answers the calls of the contract's service, by the name of the rpc."""
        raise NotImplementedError


def _check_kind(node_class: type[TypedNode], contract: Contract) -> None:
    if contract.kind != node_class.kind:
        raise ConfigurationError(
            f"{node_class.__name__} is a {kind_name(node_class.kind)}, and its contract"
            f" {contract.service} is one of a {kind_name(contract.kind)}; inherit from the class"
            " that was generated for it"
        )


def _described(node_class: type[TypedNode]) -> node_pb2.NodeContract:
    contract = node_class.contract
    # Only reducers keep a state.
    state = getattr(node_class, "state_type", None)
    return node_pb2.NodeContract(
        service=contract.service,
        fingerprint=contract.fingerprint,
        state="" if state is None else state.DESCRIPTOR.full_name,
        emits=contract.emits,
    )
