"""`onex check [STORE…]`."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from onex_grpc.cli.backup import sqlite_path
from onex_grpc.errors import ConfigurationError
from onex_grpc.serve.config import load_settings
from onex_grpc.store.sqlite.integrity import examine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DAMAGED: Final = 1
_PROGRESS_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Checked:
    """The findings of one store.

    Attributes:
        path: its file.
        whole: nothing is wrong with it.
        faults: what is, the first of each table.
        bytes: its size.
        seconds: how long it took.
    """

    path: str
    whole: bool
    faults: Sequence[str]
    bytes: int
    seconds: float


@dataclass(frozen=True)
class Report:
    """The report of `onex check --json`.

    Attributes:
        whole: all of the stores are.
        stores: each of them.
    """

    whole: bool
    stores: Sequence[Checked]


@click.command()
@click.argument("stores", metavar="[STORE]...", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Settings with `store` or `state`; onex.toml here, if there is one.",
)
def check(stores: Sequence[str], as_json: bool, config: Path | None) -> None:
    """Reads SQLite stores whole and tells of damage.

    Without STORE those of the settings: `store`, or all in the folder `state`. A node may have the
    store open and go on serving. Exit code 0 where all are whole, 1 where one is damaged, 2 where
    one cannot be read.
    """
    paths = [sqlite_path(store) for store in stores] or _of_settings(config)
    checked = [_check(path) for path in paths]
    report = Report(all(each.whole for each in checked), checked)
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        for each in checked:
            _show(each)
    if not report.whole:
        sys.exit(_DAMAGED)


def _check(path: Path) -> Checked:
    began = time.monotonic()
    faults = examine(path, _progress(path))
    seconds = round(time.monotonic() - began, 3)
    return Checked(str(path), not faults, faults, path.stat().st_size, seconds)


def _progress(path: Path) -> Callable[[str], None]:
    told = time.monotonic()

    def tell(table: str) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _PROGRESS_SECONDS:
            told = now
            click.echo(f"{path}: reading {table}", err=True)

    return tell


def _show(checked: Checked) -> None:
    size = f"{checked.bytes / 1e6:.1f} MB, {checked.seconds:.1f} s"
    if checked.whole:
        click.echo(f"{checked.path}: whole ({size})")
        return
    click.echo(f"{checked.path}: damaged ({size}); stop its node, then `onex restore` a backup")
    for fault in checked.faults:
        click.echo(f"  {fault}")


def _of_settings(config: Path | None) -> list[Path]:
    settings = load_settings(config)
    if settings.store:
        return [sqlite_path(settings.store)]
    found = sorted(Path(settings.state).glob("*.db"))
    if not found:
        raise ConfigurationError(
            f"there is no store in the folder {settings.state}; name the file of one, such as "
            ".onex/reducer-orders.db"
        )
    return found
