"""The linter of contracts: every mistake in them, before code is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.codegen.check_effects import check_emits
from onex_grpc.codegen.check_encoding import check_encoding
from onex_grpc.codegen.check_flow import check_depends_on
from onex_grpc.codegen.check_key import check_key
from onex_grpc.codegen.check_machine import check_machine
from onex_grpc.codegen.check_names import check_files, check_python_names
from onex_grpc.codegen.check_node import check_node, check_node_names
from onex_grpc.codegen.check_options import check_options
from onex_grpc.codegen.check_rpc import check_operations, check_request_types
from onex_grpc.codegen.check_scope import Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from onex_grpc.codegen.fault import Fault
    from onex_grpc.codegen.schema import NodeRecord, Schema

_OF_RUN: Final[Sequence[Callable[[Scope], Iterator[Fault]]]] = (
    check_encoding,
    check_options,
    check_files,
    check_node_names,
)
_OF_NODE: Final[Sequence[Callable[[Scope, NodeRecord], Iterator[Fault]]]] = (
    check_node,
    check_python_names,
    check_depends_on,
    check_emits,
    check_machine,
    check_key,
    check_operations,
    check_request_types,
)


def check(schema: Schema) -> list[Fault]:
    """All mistakes in the files for which code is asked, in the order of file and line.

    The files are those of the command, in its order; a fault whose line is not known comes first.
    """
    scope = Scope(schema)
    faults = [fault for of_run in _OF_RUN for fault in of_run(scope)]
    for node in scope.generated:
        for of_node in _OF_NODE:
            faults.extend(of_node(scope, node))
    order = {file: index for index, file in enumerate(schema.to_generate)}
    last = len(order)
    return sorted(faults, key=lambda f: (order.get(f.place.file, last), f.place.line))
