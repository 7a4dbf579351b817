"""`onex generate PROTO… --out DIR`."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from onex_grpc.codegen.delivery import deliver, workshop
from onex_grpc.codegen.protoc import compile_protos
from onex_grpc.codegen.sources import find_protos, roots_of, sdk_root, without_sdk

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Report:
    """What `onex generate --json` prints.

    Attributes:
        files: what was written.
        errors: the mistakes in the protos, one each; nothing was written if there are any.
        warnings: what protoc says otherwise.
    """

    files: Sequence[str] = ()
    errors: Sequence[str] = ()
    warnings: Sequence[str] = ()


@click.command()
@click.argument(
    "protos", metavar="PROTO...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder for the modules; it is what belongs on Python's path.",
)
@click.option(
    "-I",
    "include",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder that imports start from; the one above a proto's package, else the current one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def generate(protos: tuple[Path, ...], out: Path, include: tuple[Path, ...], as_json: bool) -> None:
    """Makes messages, their types, and typed nodes and clients from protos.

    PROTO is a .proto file, or a folder for all below it. Files are written only if every proto is
    right. Exit code 0 when they are, 1 for a mistake in a proto, 2 when nothing can be tried.
    """
    # By itself a signal ends the process at once, and what is half built stays.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    report = _generate(protos, out, include)
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        for line in (*report.warnings, *report.errors):
            click.echo(line, err=True)
        for file in report.files:
            click.echo(file)
    sys.exit(1 if report.errors else 0)


def _generate(given: Sequence[Path], out: Path, include: Sequence[Path]) -> Report:
    protos = find_protos(given)
    roots = roots_of(protos, include)
    protos = without_sdk(protos, roots)
    roots = [*roots, sdk_root()]
    with workshop(out) as shop:
        built = shop / "built"
        built.mkdir()
        compiled = compile_protos(protos, roots, built)
        if not compiled.succeeded:
            return Report(errors=compiled.messages)
        if not any(built.rglob("*_onex.py")):
            return Report(errors=[*compiled.messages, _no_nodes(given)])
        files = deliver(built, out)
    return Report(files=[str(file) for file in files], warnings=compiled.messages)


def _no_nodes(given: Sequence[Path]) -> str:
    return (
        f"{', '.join(map(str, given))}: no service has the option (onex.v1.node), so there is"
        " nothing to generate; give one of them"
        " `option (onex.v1.node) = {type: ... version: ...};`"
    )
