"""What generated reducers take over from those that are written by hand."""

from onex_grpc.reducer import ReducerAction as Action
from onex_grpc.reducer import StateMachine, Transition

__all__ = ["Action", "StateMachine", "Transition"]
