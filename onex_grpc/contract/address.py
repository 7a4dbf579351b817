"""Addresses at which others reach a process."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

_HOST: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})"
_ADDRESS: Final = re.compile(rf"(?P<host>{_HOST}|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{{1,5}})")
_LARGEST_PORT: Final = 65535


def address_fault(address: str) -> str:
    """Why others cannot reach a process at `host:port`; empty where they can try."""
    found = _ADDRESS.fullmatch(address)
    if found is None or not 0 < int(found["port"]) <= _LARGEST_PORT:
        return f"{address[:60]!r} is not host:port, such as 10.0.0.7:50053"
    if is_wildcard(found["host"]):
        return f"{address!r} stands for every interface; give the one that others reach"
    return ""


def is_wildcard(host: str) -> bool:
    """Whether a host is that of all interfaces, which nobody can connect to."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False
