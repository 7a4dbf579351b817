"""An rpc's method must not hide what its node or client has: the lists know all of that."""

from __future__ import annotations

import inspect
import re

import pytest

from onex.v1 import common_pb2
from onex_grpc import typed
from onex_grpc.codegen.reserved import ATTRIBUTES, MESH_ATTRIBUTES

KINDS = {
    common_pb2.NODE_TYPE_EFFECT: "TypedEffect",
    common_pb2.NODE_TYPE_COMPUTE: "TypedCompute",
    common_pb2.NODE_TYPE_REDUCER: "TypedReducer",
    common_pb2.NODE_TYPE_ORCHESTRATOR: "TypedOrchestrator",
}


def public(owner: type) -> set[str]:
    names = set(dir(owner))
    for each in owner.__mro__:
        names.update(getattr(each, "__annotations__", ()))
        if each.__module__.startswith("onex_grpc."):
            # What is set on the instance alone stands only in the source.
            names.update(re.findall(r"self\.(\w+)(?:: [^=\n]+)? = ", inspect.getsource(each)))
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("kind", KINDS)
def test_the_lists_have_every_public_attribute_of_the_base_classes(
    kind: common_pb2.NodeType.ValueType,
) -> None:
    assert public(getattr(typed, KINDS[kind])) <= ATTRIBUTES[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_the_lists_have_every_public_attribute_of_clients(
    kind: common_pb2.NodeType.ValueType,
) -> None:
    assert public(typed.Client) <= ATTRIBUTES[kind]


def test_the_list_has_every_public_attribute_of_an_orchestrators_mesh() -> None:
    assert public(typed.WorkflowMesh) <= MESH_ATTRIBUTES
