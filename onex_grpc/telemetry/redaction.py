"""Keeps secrets out of logs and traces."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, TypeVar

V = TypeVar("V")

REDACTED: Final = "[redacted]"

_SECRET_KEY: Final = re.compile(
    r"passw(or)?d|passphrase|secret|token|authorization|cookie|credential|dsn"
    r"|(api|private|signing|access)[_.-]?key",
    re.IGNORECASE,
)
# scheme://user:password@host
_USERINFO: Final = re.compile(r"(?<=://)[^/\s@]+(?=@)")
# A JSON Web Token, such as a lease's, wherever it stands.
_JWT: Final = re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]*")
# password=…, "token": "…", Authorization: Bearer …
_ASSIGNED: Final = re.compile(
    r"""((?:passw(?:or)?d|passphrase|secret|token|authorization|cookie|dsn|api[_-]?key)["']?\s*[=:]\s*)"""
    r"""("[^"]*"|'[^']*'|(?:bearer\s+|basic\s+)?[^\s,;&"']+)""",
    re.IGNORECASE,
)


@lru_cache(maxsize=1024)
def is_secret(key: str) -> bool:
    """Whether what stands under this key must not be shown."""
    return _SECRET_KEY.search(key) is not None


def redact_text(text: str) -> str:
    """Text without the credentials of URLs, without tokens, and without what is assigned to a
    secret's name.
    """
    if "://" in text:
        text = _USERINFO.sub(REDACTED, text)
    if "eyJ" in text:
        text = _JWT.sub(REDACTED, text)
    return _ASSIGNED.sub(rf"\g<1>{REDACTED}", text)


def redact_attribute(key: str, value: V) -> V | str:
    """A span attribute fit to leave the process."""
    if is_secret(key):
        return REDACTED
    if isinstance(value, str) and ("://" in value or "eyJ" in value):
        return redact_text(value)
    return value


def redact(value: object) -> object:
    """JSON-like data of any depth without its secrets."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {str(k): REDACTED if is_secret(str(k)) else redact(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    return value
