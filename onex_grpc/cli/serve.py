"""`onex serve module:Class`."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import click

from onex_grpc.errors import ConfigurationError
from onex_grpc.node.base import Node
from onex_grpc.serve.command import run_node, serve_options
from onex_grpc.serve.faults import describe_fault


@click.command()
@click.argument("node", metavar="MODULE:CLASS")
@serve_options
def serve(node: str, config: Path | None, with_parent: bool, **flags: str | int | None) -> None:
    """Serves a node of your own until SIGTERM or Ctrl-C.

    MODULE:CLASS is the module, as `import` finds it from here, and the node's class in it, as in
    shop.nodes:PriceNode.
    """
    run_node(_find_node(node), config, with_parent, **flags)


def _find_node(place: str) -> type[Node]:
    module_name, _, class_name = place.partition(":")
    if not module_name or not class_name:
        raise ConfigurationError(f"{place!r} is not MODULE:CLASS, such as shop.nodes:PriceNode")
    # A script's own folder stands first on the path, not the one where it is called.
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = import_module(module_name)
    except Exception as fault:
        missing = fault.name if isinstance(fault, ModuleNotFoundError) else None
        if missing is not None and f"{module_name}.".startswith(f"{missing}."):
            raise ConfigurationError(
                f"there is no module {module_name!r} in {Path.cwd()} or among what is installed"
            ) from None
        # What the SDK finds wrong with a class says by itself where and what to do.
        said = fault.message if isinstance(fault, ConfigurationError) else describe_fault(fault)
        remedy = "; make it with onex generate" if _is_generated(missing) else ""
        raise ConfigurationError(
            f"module {module_name!r} cannot be imported: {said}{remedy}"
        ) from None
    found: object = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, Node)):
        nodes = sorted(
            name
            for name, value in vars(module).items()
            if isinstance(value, type)
            and value.__module__ == module_name
            and issubclass(value, Node)
        )
        raise ConfigurationError(
            f"{class_name!r} is not a node's class of {module_name}; "
            f"it has: {', '.join(nodes) or 'none'}"
        )
    return found


def _is_generated(module: str | None) -> bool:
    return module is not None and module.endswith(("_onex", "_pb2"))
