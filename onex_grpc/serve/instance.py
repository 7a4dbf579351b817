"""The name of a process among those that serve its node."""

from __future__ import annotations

import os
import re
import secrets
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from onex_grpc.serve.settings import Settings

_SHARED: Final = ("postgresql://", "postgres://")
_LONGEST_HOST: Final = 40


def instance_name(settings: Settings) -> str:
    """The instance that is set; on a store that processes share, one that no other has, if none is.

    Empty for a process that has its store alone.
    """
    if settings.instance or not settings.store.startswith(_SHARED):
        return settings.instance
    return fresh_name()


def fresh_name() -> str:
    """A name that no other process has."""
    host = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:_LONGEST_HOST]
    return f"{host or 'host'}-{os.getpid()}-{secrets.token_hex(4)}"
