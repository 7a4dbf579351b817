"""Whether an rpc's method is written as its kind of node needs it: `def` or `async def`."""

from __future__ import annotations

import inspect
from enum import Enum
from typing import TYPE_CHECKING, Final

from onex.v1 import common_pb2
from onex_grpc.errors import ConfigurationError

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from onex_grpc.typed.contract import Contract, Rpc


class Form(Enum):
    """How a method is written; the value says it in Python."""

    PLAIN = "a plain `def` that returns"
    COROUTINE = "an `async def` that returns"
    GENERATOR = "a plain `def` that yields"
    ASYNC_GENERATOR = "an `async def` that yields"


_COMPUTE: Final = {
    (False, False): Form.PLAIN,
    (False, True): Form.GENERATOR,
    (True, False): Form.COROUTINE,
    (True, True): Form.ASYNC_GENERATOR,
}


def form_of(contract: Contract, rpc: Rpc[Message, Message]) -> Form:
    """How the method of an rpc has to be written."""
    if contract.kind == common_pb2.NODE_TYPE_REDUCER:
        return Form.PLAIN
    if contract.kind == common_pb2.NODE_TYPE_COMPUTE:
        return _COMPUTE[rpc.request_streaming, rpc.response_streaming]
    return Form.ASYNC_GENERATOR if rpc.response_streaming else Form.COROUTINE


def check_forms(node_class: type, contract: Contract) -> None:
    """Checks the methods that a class has, whichever of its bases wrote them.

    Raises:
        ConfigurationError: for `async def` where `def` is meant, and the other way round.
    """
    for rpc in contract.rpcs:
        method: object = getattr(node_class, rpc.method, None)
        if method is None or getattr(method, "__isabstractmethod__", False):
            continue
        wanted = form_of(contract, rpc)
        if not callable(method) or _written(inspect.unwrap(method)) not in _FITTING[wanted]:
            raise ConfigurationError(
                f"{node_class.__name__}.{rpc.method} must be {wanted.value}, for rpc"
                f" {rpc.full_name}; write it as in the generated class"
            )


# A plain def may hand back the iterator that another one has made.
_FITTING: Final = {
    Form.PLAIN: {Form.PLAIN},
    Form.COROUTINE: {Form.COROUTINE},
    Form.GENERATOR: {Form.GENERATOR, Form.PLAIN},
    Form.ASYNC_GENERATOR: {Form.ASYNC_GENERATOR, Form.PLAIN},
}


def _written(function: object) -> Form:
    if inspect.isasyncgenfunction(function):
        return Form.ASYNC_GENERATOR
    if inspect.iscoroutinefunction(function):
        return Form.COROUTINE
    return Form.GENERATOR if inspect.isgeneratorfunction(function) else Form.PLAIN
