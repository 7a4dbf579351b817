"""`make serve`: the four servers of the sample mesh until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import click

from onex_grpc.errors import OnexError
from servers.mesh import running_mesh
from servers.supervisor import DEFAULT_PORTS, KINDS, MeshLayout

_DATA = Path(__file__).parent / "data"


class _Ports(click.ParamType[tuple[int, ...]]):
    name = ",".join(f"{kind}-port" for kind in KINDS)

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        words = str(value).split(",")
        if len(words) != len(KINDS) or not all(
            word.isascii() and word.isdigit() and 0 < int(word) < 65536 for word in words
        ):
            self.fail(f"{value!r} is not four ports as {self.name}", param, ctx)
        return tuple(int(word) for word in words)


@click.command()
@click.option(
    "--state", type=click.Path(path_type=Path), default=Path(".onex"), help="State folder."
)
@click.option("--ports", type=_Ports(), default=DEFAULT_PORTS, help="Four ports, by commas.")
def main(state: Path, ports: tuple[int, ...]) -> None:
    """Runs the sample mesh over a state folder until Ctrl-C or SIGTERM."""
    try:
        asyncio.run(_serve(MeshLayout(state.resolve(), _DATA, ports)))
    except OnexError as fault:
        click.echo(f"error: {fault}", err=True)
        sys.exit(1)


async def _serve(layout: MeshLayout) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running_mesh(layout, lambda line: click.echo(line, err=True)) as supervisor:
        click.echo("mesh ready")
        waits = {asyncio.create_task(stop.wait()), asyncio.create_task(supervisor.failed())}
        done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        for task in done:
            task.result()


if __name__ == "__main__":
    main()
