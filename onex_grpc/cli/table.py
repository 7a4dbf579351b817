"""Tables as the commands print them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence


def show_table(rows: Sequence[Sequence[str]]) -> None:
    """Prints rows, the first of which is the head, in columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # Not a rich table, which wraps and cuts what is wider than the screen: this is for grep, too.
    for row in rows:
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())
