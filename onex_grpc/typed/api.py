"""The level of the surface that generated modules are written for."""

from __future__ import annotations

from typing import Final

from onex_grpc.errors import ConfigurationError

API_LEVEL: Final = 1
"""Raised when a name here changes its meaning; generated modules of other levels are refused."""


def require_api(level: int, *, source: str) -> None:
    """Refuses a generated module that was written for another level; called at its import.

    Args:
        level: that of the generated module.
        source: path of the proto that it was generated from.

    Raises:
        ConfigurationError: for another level; names the command to run, or what to install.
    """
    if level == API_LEVEL:
        return
    remedy = f"run `{command_for(source)}`"
    if level > API_LEVEL:
        remedy = "install the onex-grpc that it was generated with, or " + remedy
    raise ConfigurationError(
        f"the module generated from {source} is of API level {level}, and this onex-grpc has level "
        f"{API_LEVEL}; {remedy}"
    )


def command_for(source: str) -> str:
    """The command that generates the modules of a proto anew."""
    return f"onex generate {source} --out DIR"
