"""Names of attributes that nodes and clients have, which no method of an rpc may hide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex.v1 import common_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

_NODE: Final = frozenset(
    [
        "container",
        "contract",
        "dependencies",
        "descriptor",
        "kind",
        "name",
        "operations",
        "services",
        "start",
        "stop",
    ]
)
# The last two are no attributes, but what the generated classes' own methods are written with.
_CLIENT: Final = frozenset({"contract", "abstractmethod", "float"})

ATTRIBUTES: Final[Mapping[int, frozenset[str]]] = {
    common_pb2.NODE_TYPE_EFFECT: _CLIENT
    | _NODE
    | {
        "accepted_routes",
        "execute_effect",
        "execute_effect_stream",
        "execute_intents",
        "perform",
        "register_operations",
        "targets",
    }
    # Of the class with the intents.
    | {"staticmethod", "str"},
    common_pb2.NODE_TYPE_COMPUTE: _CLIENT
    | _NODE
    | {"algorithms", "execute_compute", "execute_compute_stream", "register_algorithms"},
    common_pb2.NODE_TYPE_REDUCER: _CLIENT
    | _NODE
    | {
        "execute_reduction",
        "get_state",
        "initial_state",
        "list_history",
        "machine",
        "rules",
        "settle",
        "state_type",
        "stream_reductions",
        "transition",
    },
    common_pb2.NODE_TYPE_ORCHESTRATOR: _CLIENT
    | _NODE
    | {
        "engine",
        "execute_action",
        "execute_orchestration",
        "mesh_type",
        "register_workflows",
        "registry",
    },
}
"""By kind: the public attributes of the base class of generated nodes, and of clients.

Those that start with an underscore need no list: an rpc's name may not start with one.
"""

MESH_ATTRIBUTES: Final[frozenset[str]] = frozenset({"property"})
"""The public attributes of what an orchestrator calls its dependencies by."""
