"""Children that the node's code forks: what they must not keep of the node.

A fork copies every open descriptor, and close-on-exec ends none of them where no other program is
run, as in multiprocessing's fork. A child that outlives its node would keep the store's lock, the
port, and connections whose other ends would take the node for alive.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_acts: Final[dict[object, Callable[[], None]]] = {}


def in_each_child(act: Callable[[], None]) -> Callable[[], None]:
    """Has each forked child do something before all else; returns a function that ends this."""
    key = object()
    _acts[key] = act

    def end() -> None:
        _acts.pop(key, None)

    return end


def keep_from_children(descriptors: Callable[[], Iterable[int]]) -> Callable[[], None]:
    """Takes descriptors from each forked child; returns a function that ends this.

    Args:
        descriptors: called in the child, for those that are open then.
    """
    return in_each_child(lambda: _replace(descriptors()))


def _replace(descriptors: Iterable[int]) -> None:
    # Closed, their numbers would be given to files of the child, and what the child still has of
    # the node would write there. Nothing can be written to this one, nor locked.
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for descriptor in descriptors:
            os.dup2(nothing, descriptor, inheritable=False)
    finally:
        os.close(nothing)


def _act() -> None:
    for act in tuple(_acts.values()):
        with suppress(OSError):
            act()


os.register_at_fork(after_in_child=_act)
