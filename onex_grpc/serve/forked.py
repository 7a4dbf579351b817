"""Forked children that come back to the event loop of their node: they would be a second one, which
takes events from the first.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Final

import click

from onex_grpc.forks import in_each_child, keep_from_children
from onex_grpc.rpc.descriptors import sockets_of_loop

if TYPE_CHECKING:
    from collections.abc import Callable

_FAULT: Final = 1


def end_strays() -> Callable[[], None]:
    """Has each child end that returns to the running event loop; returns a function that ends
    this.
    """
    loop = asyncio.get_running_loop()

    def expect_it() -> None:
        loop.call_soon(_end_stray)

    expecting = in_each_child(expect_it)
    # Before it ends, the child's loop may still take what is meant for the node, such as the word
    # that a call has been answered.
    keeping = keep_from_children(lambda: sockets_of_loop(loop))

    def end() -> None:
        expecting()
        keeping()

    return end


def end_child(node_pid: int, ended: BaseException) -> None:
    """Ends the process with what came out of the event loop, where it is a child of the node; what
    the node would clean up then is not the child's.
    """
    if os.getpid() == node_pid:
        return
    code = ended.code if isinstance(ended, SystemExit) else _FAULT
    if code is not None and not isinstance(code, int):
        click.echo(code, err=True)
        code = _FAULT
    _exit(code or 0)


def _end_stray() -> None:
    click.echo(
        "error: a child that the node's code forked returned to the node's event loop and ends "
        "here; end it with os._exit when its work is done, or use multiprocessing",
        err=True,
    )
    _exit(_FAULT)


def _exit(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
