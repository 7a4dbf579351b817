"""CEL of guards, compiled against messages for which there is no Python module yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf import descriptor_pb2

from onex_grpc.errors import ContractValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.descriptor_pool import DescriptorPool

    from onex_grpc.codegen.schema import MessageType

# Of JSON-like data nothing is known beforehand, here as where the guard is evaluated.
_OPEN: Final = "google.protobuf.Value"


def guard_fault(guard: str, state: MessageType, request: MessageType, pool: DescriptorPool) -> str:
    """What is wrong with a guard; empty where nothing is."""
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


def pool_of(files: Mapping[str, descriptor_pb2.FileDescriptorProto]) -> DescriptorPool:
    """A pool of these files, which stand in an order in which imports come first."""
    from google.protobuf.descriptor_pool import DescriptorPool

    pool = DescriptorPool()
    for file in files.values():
        bare = descriptor_pb2.FileDescriptorProto()
        bare.CopyFrom(file)
        # Comments are most of a file's bytes, and no guard can see them.
        bare.ClearField("source_code_info")
        pool.Add(bare)
    return pool
