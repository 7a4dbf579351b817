"""REDUCER nodes: pure state machines whose states and intents are durable in one transaction."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final, Generic, TypeVar, final

from google.protobuf.message import Message

from onex.v1 import common_pb2, intent_pb2_grpc, reducer_pb2, reducer_pb2_grpc
from onex_grpc.context import current_call
from onex_grpc.contract.data import pack
from onex_grpc.contract.ids import derived_uuid8
from onex_grpc.errors import ConfigurationError
from onex_grpc.intent import IntentQueue
from onex_grpc.node.base import Node, Service
from onex_grpc.reducer.checked_machine import CheckedMachine
from onex_grpc.reducer.execution import ReductionEngine
from onex_grpc.reducer.rules import ReducerRules
from onex_grpc.rpc.calls import CallRuntime
from onex_grpc.rpc.limits import MessageLimit
from onex_grpc.store.history_message import entry_message, stream_history
from onex_grpc.store.protocol import Store
from onex_grpc.store.retention import DEFAULT_RETENTION, Retention
from onex_grpc.telemetry import NO_TELEMETRY, Telemetry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from onex_grpc.container import ModelONEXContainer
    from onex_grpc.reducer.machine import StateMachine
    from onex_grpc.reducer.model import ReducerAction, Reduction
    from onex_grpc.store.model import HistoryEntry

S = TypeVar("S", bound=Message)


class NodeReducer(Node, ABC, Generic[S]):
    """Base of the user's reducers: she gives `state_type`, `machine` and `transition`.

    `machine` is checked when the class is made: ConfigurationError for unknown or unreachable
    states, a missing initial state, bad guards, ambiguous transitions. Without one every action is
    allowed.

    Attributes:
        rules: the pure part of the node: guards, machine and transition.
    """

    kind = common_pb2.NODE_TYPE_REDUCER
    state_type: type[S]
    machine: ClassVar[StateMachine | None] = None
    _checked: ClassVar[CheckedMachine | None] = None

    def __init_subclass__(cls, **arguments: object) -> None:
        super().__init_subclass__(**arguments)
        if "execute_reduction" in cls.__dict__:
            raise ConfigurationError(
                f"{cls.__name__} overrides execute_reduction, which is final; write transition"
            )
        if inspect.iscoroutinefunction(cls.transition):
            raise ConfigurationError(
                f"{cls.__name__}.transition is async; it is pure and therefore a plain def"
            )
        state_type = getattr(cls, "state_type", None)
        if cls.machine is not None and state_type is not None:
            cls._checked = CheckedMachine(cls.machine, state_type)

    def __init__(self, container: ModelONEXContainer) -> None:
        super().__init__(container)
        if not hasattr(self, "state_type"):
            raise ConfigurationError(
                f"{type(self).__name__} has no state_type; set it to the message of its states"
            )
        self._store = container.get_service(Store)
        observed = container.has_service(Telemetry)
        limited = container.has_service(MessageLimit)
        kept = container.has_service(Retention)
        retention = container.get_service(Retention) if kept else DEFAULT_RETENTION
        self.rules: Final = ReducerRules(
            node=self.name,
            state_type=self.state_type,
            initial=self.initial_state,
            transition=self.transition,
            machine=self._checked,
            settle=self.settle,
        )
        self._engine = ReductionEngine(
            self.rules,
            self._store,
            container.get_service(Telemetry) if observed else NO_TELEMETRY,
            (container.get_service(MessageLimit) if limited else MessageLimit()).size,
            retention,
        )

    @abstractmethod
    def transition(self, state: S, action: ReducerAction) -> Reduction[S]:
        """δ: the new state and the intents for a state and an action; pure.

        No clock, no randomness, no I/O: time is `action.issued_at`, ids are `action.new_id(label)`.
        The state is a copy and may be changed and returned. It may run more than once an action.
        """

    def settle(self, action: ReducerAction) -> ReducerAction:
        """The action as machine and transition are to see it; here as it came. Pure.

        Raises:
            ContractValidationError: to refuse an action for what it says, whatever the state.
        """
        return action

    def initial_state(self) -> S:
        """The state of an entity to which nothing has happened yet; always the same."""
        state = self.state_type()
        if self._checked is not None:
            self._checked.put_initial(state)
        return state

    @final
    async def execute_reduction(
        self, contract: reducer_pb2.ModelContractReducer
    ) -> reducer_pb2.ModelReducerOutput:
        """Applies one action; new state and intents are durable when it returns.

        Raises:
            ContractValidationError: an unknown action or a wrong payload.
            TransitionError, GuardRejectedError: the state does not allow the action.
            AlreadyExistsError: the action id was used with other content.
            OutcomeUnknownError: a repeat so late that its record may have been removed.
            StateConsistencyError: the transition ended in a state that it must not.
        """
        return await self._engine.reduce(contract)

    @final
    async def stream_reductions(
        self, contracts: AsyncIterator[reducer_pb2.ModelContractReducer]
    ) -> AsyncGenerator[reducer_pb2.ModelReducerOutput, None]:
        """Applies actions one after another; each is durable when its output comes.

        Those without an id of their own get one each, from the call's action id and their place in
        the stream: a stream that is sent again under that id gets the recorded outputs.

        Raises:
            OnexError: as execute_reduction, for the first that is refused; those before it stay.
        """
        call = current_call()
        index = 0
        async for contract in contracts:
            if call is not None and call.action_id and not contract.action_id:
                contract.action_id = derived_uuid8(call.action_id, str(index))
            yield await self._engine.reduce(contract)
            index += 1

    async def get_state(self, state_key: str) -> reducer_pb2.GetStateResponse:
        """The committed state of an entity and its version; the initial state at version 0."""
        found = await self._engine.read(state_key)
        return reducer_pb2.GetStateResponse(state=pack(found.state), version=found.version)

    def list_history(self, state_key: str, after: int) -> AsyncIterator[HistoryEntry]:
        """The kept states of an entity above a version, each with who wrote it."""
        return stream_history(self._store, f"{self.name}/{state_key}", after)

    def services(self) -> Sequence[Service]:
        """ReducerNodeService, and IntentQueueService over the same store."""
        runtime = (
            self.container.get_service(CallRuntime)
            if self.container.has_service(CallRuntime)
            else None
        )
        queue = IntentQueue(
            self._store,
            runtime.until_draining if runtime else None,
            find_emitted=self._engine.emitted_by,
        )
        return (
            Service.of(
                reducer_pb2_grpc.add_ReducerNodeServiceServicer_to_server, _ReducerServicer(self)
            ),
            Service.of(intent_pb2_grpc.add_IntentQueueServiceServicer_to_server, queue),
        )

    def operations(self) -> Sequence[str]:
        """The names of the machine's actions."""
        return self._checked.actions if self._checked is not None else ()


class _ReducerServicer(reducer_pb2_grpc.ReducerNodeServiceServicer):
    def __init__(self, node: NodeReducer[S]) -> None:
        self._reduce = node.execute_reduction
        self._stream = node.stream_reductions
        self._get_state = node.get_state
        self._list_history = node.list_history

    async def ExecuteReduction(
        self, request: reducer_pb2.ModelContractReducer, context: object
    ) -> reducer_pb2.ModelReducerOutput:
        return await self._reduce(request)

    def StreamReduction(
        self, request_iterator: AsyncIterator[reducer_pb2.ModelContractReducer], context: object
    ) -> AsyncGenerator[reducer_pb2.ModelReducerOutput, None]:
        return self._stream(request_iterator)

    async def GetState(
        self, request: reducer_pb2.GetStateRequest, context: object
    ) -> reducer_pb2.GetStateResponse:
        return await self._get_state(request.state_key)

    async def ListHistory(
        self, request: reducer_pb2.ListStateHistoryRequest, context: object
    ) -> AsyncIterator[reducer_pb2.ListStateHistoryResponse]:
        async for entry in self._list_history(request.state_key, request.after_version):
            # Whether its lease has ended is known to the orchestrator only.
            yield reducer_pb2.ListStateHistoryResponse(entry=entry_message(entry, ""))
