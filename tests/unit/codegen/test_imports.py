"""The names under which generated modules have others."""

from __future__ import annotations

import pytest

from onex_grpc.codegen.emit.imports import Imports


@pytest.mark.parametrize("file", ["shop/_order.proto", "__order.proto", "shop/order.proto"])
def test_an_alias_means_the_same_within_a_class(file: str) -> None:
    assert Imports().stubs(file) == "_order_pb2"


def test_aliases_differ() -> None:
    imports = Imports()
    files = ["a/order.proto", "b/order.proto", "_b/order.proto", "a/_order.proto", "_order.proto"]
    assert len({imports.stubs(file) for file in files}) == len(files)


def test_the_frozen_module_keeps_its_alias() -> None:
    assert Imports().generated("shop/.proto") != "_onex"
