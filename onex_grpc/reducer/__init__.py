"""What REDUCER nodes do: δ(state, action) → (new state, intents), durable in one transaction."""

from onex_grpc.reducer.machine import StateMachine, Transition
from onex_grpc.reducer.model import ReducerAction, Reduction

__all__ = ["ReducerAction", "Reduction", "StateMachine", "Transition"]
