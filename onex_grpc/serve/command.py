"""The command line of a node's process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from onex_grpc.node.base import Node

F = TypeVar("F", bound=Callable[..., None])


def serve_options(command: F) -> F:
    """The options that every way of serving has; their values are those of `run_node`."""
    options = [
        click.option(
            "--config",
            type=click.Path(path_type=Path),
            help="Settings; onex.toml here, if there is one.",
        ),
        click.option("--name", help="The node's name, for a class that serves under several."),
        click.option("--host", help="Interface to serve on; loopback unless there is TLS."),
        click.option("--port", type=int, help="Port to serve on; 0 takes a free one."),
        click.option("--state", help="Folder of the stores."),
        click.option(
            "--instance", help="Which of the node's processes this is, on a PostgreSQL store."
        ),
        click.option("--log-level", help="debug, info, warning, error or critical."),
        click.option(
            "--with-parent", is_flag=True, help="Stop when stdin ends, as when a supervisor dies."
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def run_node(
    node_class: type[Node], config: Path | None, with_parent: bool, **flags: str | int | None
) -> None:
    """Loads the settings and serves a node until the process is told to stop; then exits.

    Args:
        node_class: the node.
        config: the settings' file.
        with_parent: whether the end of stdin stops the process.
        flags: settings of the command line; None where a flag is absent.
    """
    from onex_grpc.errors import OnexError
    from onex_grpc.serve.config import load_settings
    from onex_grpc.serve.process import EXIT_MISTAKE, run_process
    from onex_grpc.serve.stop import stop_with_parent

    overrides = {name: value for name, value in flags.items() if value is not None}
    try:
        settings = load_settings(config, overrides=overrides)
    except OnexError as fault:
        click.echo(f"error: {fault}", err=True)
        sys.exit(EXIT_MISTAKE)
    if with_parent:
        stop_with_parent()
    run_process(node_class, settings)


def serve(node_class: type[Node]) -> None:
    """Makes a module a program that serves a node: `if __name__ == "__main__": serve(MyNode)`."""

    @click.command(help=f"Serves {node_class.__name__} until SIGTERM or Ctrl-C.")
    @serve_options
    def command(config: Path | None, with_parent: bool, **flags: str | int | None) -> None:
        run_node(node_class, config, with_parent, **flags)

    command()
