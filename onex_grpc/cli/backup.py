"""`onex backup STORE FILE` and `onex restore FILE STORE`."""

from __future__ import annotations

from pathlib import Path

import click

from onex_grpc.errors import ConfigurationError
from onex_grpc.store.sqlite.backup import backup as copy_store
from onex_grpc.store.sqlite.backup import restore as restore_store

_SQLITE = "sqlite:///"


@click.command()
@click.argument("store", metavar="STORE")
@click.argument("file", type=click.Path(path_type=Path))
def backup(store: str, file: Path) -> None:
    """Copies the SQLite store STORE to FILE as it stands at this moment.

    Its node may go on serving. FILE must not exist.
    """
    size = copy_store(sqlite_path(store), file)
    click.echo(f"{file}: {size} bytes")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("store", metavar="STORE")
def restore(file: Path, store: str) -> None:
    """Puts the backup FILE in the place of the SQLite store STORE, whose node must not run.

    What was there is kept beside it. All leases have ended, fences go on above all that were
    issued, and the mesh takes it for another store.
    """
    target = sqlite_path(store)
    kept = restore_store(file, target)
    click.echo(f"{target}: restored" + (f"; the former one is {kept}" if kept else ""))


def sqlite_path(store: str) -> Path:
    """The file of a SQLite store, named as the settings name it.

    Raises:
        ConfigurationError: it is a store of another kind.
    """
    path = store.removeprefix(_SQLITE)
    if "://" in path:
        raise ConfigurationError(
            f"{path.partition('://')[0]} is no SQLite store; look after a PostgreSQL database "
            "with its own tools, such as pg_dump and pg_amcheck"
        )
    return Path(path)
