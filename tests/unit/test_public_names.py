"""The names that `onex_grpc` itself offers: complete, and loaded only when they are used."""

import ast
import importlib
import inspect
import subprocess
import sys

import pytest

import onex_grpc
from onex_grpc import errors

FACES = (
    "compute",
    "effect",
    "event",
    "node",
    "reducer",
    "rpc",
    "serve",
    "telemetry",
    "workflow",
)


def type_checker_names() -> list[str]:
    tree = ast.parse(inspect.getsource(onex_grpc))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in blocks[0].body if isinstance(node, ast.ImportFrom)]
    return sorted((alias.name for node in imports for alias in node.names), key=order)


def order(name: str) -> tuple[bool, bool, str]:
    """Constants, classes, functions, each by name; as linters sort them."""
    return not name.isupper(), not name[0].isupper(), name


def is_class_name(name: str) -> bool:
    return name[0].isupper() and not name.isupper()


def test_names_are_sorted_and_known_to_type_checkers() -> None:
    assert sorted(onex_grpc.__all__, key=order) == onex_grpc.__all__
    assert type_checker_names() == onex_grpc.__all__


@pytest.mark.parametrize("name", onex_grpc.__all__)
def test_name_is_there(name: str) -> None:
    assert getattr(onex_grpc, name) is not None
    assert name in dir(onex_grpc)


@pytest.mark.parametrize("face", FACES)
def test_every_class_that_a_package_offers_is_offered_here(face: str) -> None:
    package = importlib.import_module(f"onex_grpc.{face}")
    offered = {name for name in package.__all__ if is_class_name(name)}

    assert offered <= set(onex_grpc.__all__)
    assert all(getattr(onex_grpc, name) is getattr(package, name) for name in offered)


def test_every_error_is_offered_here() -> None:
    classes = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and value.__module__ == errors.__name__
    }
    assert classes <= set(onex_grpc.__all__)


def test_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'NodeMagic'"):
        _ = onex_grpc.NodeMagic  # type: ignore[attr-defined]


def test_import_loads_nothing_else() -> None:
    program = (
        "import sys, onex_grpc\n"
        "loaded = [name for name in sys.modules if name.startswith(('onex_grpc.', 'grpc'))]\n"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
