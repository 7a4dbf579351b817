"""`onex`, the command line of the mesh."""

from __future__ import annotations

import os
import sys

import click

from onex_grpc.cli.lazy import LazyGroup
from onex_grpc.errors import OnexError

_COMMANDS = LazyGroup(
    {
        "generate": (
            "onex_grpc.cli.generate:generate",
            "Make typed nodes and clients from protos.",
        ),
        "serve": ("onex_grpc.cli.serve:serve", "Run a node until SIGTERM or Ctrl-C."),
        "backup": ("onex_grpc.cli.backup:backup", "Copy a node's SQLite store while it runs."),
        "restore": ("onex_grpc.cli.backup:restore", "Put a backup in the place of a store."),
        "check": ("onex_grpc.cli.check:check", "Read a node's SQLite store and tell of damage."),
        "nodes": ("onex_grpc.cli.nodes:nodes", "List who serves the nodes of a mesh, and where."),
        "queue": ("onex_grpc.cli.queue:queue", "Show what waits in a reducer's queue of intents."),
        "health": ("onex_grpc.cli.health:health", "Ask a node's process how it is."),
    },
    name="onex",
    help="Make, run and look after the nodes of an ONEX mesh.",
)
click.version_option(package_name="onex-grpc")(_COMMANDS)


def main() -> None:
    """Runs `onex`; a mistake ends it with one line on stderr and exit code 2."""
    # Before any command loads gRPC, whose C core would write lines of its own between ours.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        _COMMANDS.main(prog_name="onex")
    except OnexError as fault:
        click.echo(f"error: {fault}", err=True)
        sys.exit(2)
