"""Generated COMPUTE nodes: pure methods behind both doors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onex_grpc.node.compute import NodeCompute
from onex_grpc.typed.calculation import Calculation, calculation_of
from onex_grpc.typed.node import TypedNode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onex_grpc.container import ModelONEXContainer
    from onex_grpc.rpc.calls import Handler


class TypedCompute(TypedNode, NodeCompute):
    """Base of the generated compute nodes; the methods of its rpcs are the user's.

    Each rpc is an algorithm, too, named `package.Service/Rpc`.
    """

    def __init__(self, container: ModelONEXContainer) -> None:
        super().__init__(container)
        self._calculations: Mapping[str, Calculation] = {
            rpc.name: calculation_of(rpc, getattr(self, rpc.method), self._constraints)
            for rpc in self.contract.rpcs
        }
        for calculation in self._calculations.values():
            calculation.register(self.algorithms)

    def _handlers(self) -> Mapping[str, Handler]:
        return {name: each.handle for name, each in self._calculations.items()}
