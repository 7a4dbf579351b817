"""CEL of guards, compiled against messages for which there is no Python module yet."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

from onex_grpc.codegen.pools import pool_of, small_pool
from onex_grpc.errors import ContractValidationError

if TYPE_CHECKING:
    from google.protobuf.descriptor_pool import DescriptorPool

    from onex_grpc.codegen.schema import MessageType, Schema

# Of JSON-like data nothing is known beforehand, here as where the guard is evaluated.
_OPEN: Final = "google.protobuf.Value"


class Guards:
    """Says what is wrong with guards over the messages of one run."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    def fault(self, guard: str, state: MessageType, request: MessageType) -> str:
        """What is wrong with a guard over `state` and `action`; empty where nothing is."""
        # CEL reads all of a pool for each expression. What a guard names besides its variables, the
        # value of some enum, may be missing in the small one.
        found = _fault(guard, state, request, small_pool(self._schema, state, request))
        return found and _fault(guard, state, request, self._all)

    @cached_property
    def _all(self) -> DescriptorPool:
        return pool_of(self._schema.files.values())


def _fault(guard: str, state: MessageType, request: MessageType, pool: DescriptorPool) -> str:
    # Most contracts need no CEL, whose library takes longer to load than all else does to run.
    from onex_grpc.contract import expression

    is_open = request.full_name == _OPEN
    variables = {
        "state": expression.VariableType(state.full_name),
        "action": expression.ANYTHING if is_open else expression.VariableType(request.full_name),
    }
    try:
        compiled = expression.compile(guard, variables, pool)
    except ContractValidationError as error:
        return error.violations[0].description
    return "" if compiled.may_be_condition else f"{guard!r} is neither true nor false"
