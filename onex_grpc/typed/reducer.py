"""REDUCER nodes that are generated: one method an rpc instead of one transition for all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, TypeVar, final

from google.protobuf.message import Message

from onex.v1 import common_pb2
from onex_grpc.errors import ConfigurationError, ContractValidationError, Violation
from onex_grpc.node.reducer import NodeReducer
from onex_grpc.reducer.model import PAYLOAD
from onex_grpc.typed.key import has_only_key, key_of, put_key
from onex_grpc.typed.node import TypedNode
from onex_grpc.typed.reducer_door import ReducerDoor
from onex_grpc.typed.reduction import model_reduction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onex_grpc.reducer.model import ReducerAction
    from onex_grpc.reducer.model import Reduction as ModelReduction
    from onex_grpc.rpc.calls import Handler
    from onex_grpc.typed.contract import Rpc

S = TypeVar("S", bound=Message)

_FINAL = ("transition", "settle")


class TypedReducer(TypedNode, NodeReducer[S]):
    """Base of generated reducers; the user writes one plain method for each rpc.

    What a method gets is a copy of the state, which it may change and return, the request, and the
    action with time and ids. It is pure, and may run more than once an action.
    """

    _rpcs: ClassVar[Mapping[str, Rpc[Message, Message]]]

    def __init_subclass__(cls, **arguments: object) -> None:
        super().__init_subclass__(**arguments)
        if overridden := [name for name in _FINAL if name in cls.__dict__]:
            raise ConfigurationError(
                f"{cls.__name__} overrides {overridden[0]}, which is final; write the methods of"
                " the rpcs"
            )
        if hasattr(cls, "contract"):
            if not cls.contract.key:
                raise ConfigurationError(
                    f"the contract of {cls.__name__} has no key, so no request says whose state it"
                    " is for; give (onex.v1.node) a key"
                )
            cls._rpcs = {rpc.name: rpc for rpc in cls.contract.rpcs}

    @final
    def transition(self, state: S, action: ReducerAction) -> ModelReduction[S]:
        """Runs the method of the action's rpc."""
        rpc = self._rpcs[action.name]
        method = getattr(self, rpc.method)
        result: object = method(state, action.message(rpc.request), action)
        return model_reduction(result, rpc, self.contract, self.state_type)

    @final
    def settle(self, action: ReducerAction) -> ReducerAction:
        """Refuses what is no action of the contract, or not of the entity that it is sent to.

        Raises:
            ContractValidationError: an unknown action, a payload of another type or against its
                constraints, another key.
        """
        rpc = self._rpcs.get(action.name)
        if rpc is None:
            raise self._unknown(action.name)
        if action.data.WhichOneof("content") is None and has_only_key(
            rpc.request, self.contract.key
        ):
            action = replace(action, data=self._said_by_key(rpc, action.state_key))
        request = action.message(rpc.request)
        self._check_key(request, action.state_key)
        self._constraints.check(request, PAYLOAD)
        return action

    def operations(self) -> Sequence[str]:
        """The rpcs, by the names of both doors."""
        return tuple(dict.fromkeys((*self._rpcs, *super().operations())))

    def _handlers(self) -> Mapping[str, Handler]:
        door = ReducerDoor(self.execute_reduction, self.stream_reductions, self.contract.key)
        return {rpc.name: door.handler(rpc) for rpc in self.contract.rpcs}

    def _unknown(self, name: str) -> ContractValidationError:
        known = ", ".join(sorted(self._rpcs))
        return ContractValidationError.of(
            Violation("input_data.action", f"unknown action {name!r:.80}; known: {known}")
        )

    def _said_by_key(self, rpc: Rpc[Message, Message], key: str) -> common_pb2.Data:
        request = rpc.request()
        put_key(request, self.contract.key, key)
        said = common_pb2.Data()
        said.message.Pack(request, deterministic=True)
        return said

    def _check_key(self, request: Message, state_key: str) -> None:
        path = self.contract.key
        if (said := key_of(request, path)) != state_key:
            raise ContractValidationError.of(
                Violation(
                    f"{PAYLOAD}.{path}",
                    f"is {said!r:.80}, but reduction_config.state_key is {state_key!r:.80}; give"
                    " both the same",
                )
            )
