"""The schema of a store's file: whose file it is, and numbered migrations that only go forward."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Final

import apsw

from onex_grpc.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

APPLICATION_ID: Final = 0x4F4E4558
"""`ONEX` in ASCII, in the header of every store's file (https://www.sqlite.org/fileformat.html,
offset 68).
"""


def check_owner(connection: apsw.Connection, path: Path) -> None:
    """Refuses a file that is not a store, before anything is written to it.

    Raises:
        ConfigurationError: the file belongs to another program, or a newer version of this one.
    """
    try:
        application = connection.pragma("application_id")
        version = connection.pragma("user_version")
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except apsw.NotADBError:
        raise _foreign(path, "is not an SQLite database") from None
    is_new = (application, version) == (0, 0) and tables == (0,)
    if not is_new and application != APPLICATION_ID:
        raise _foreign(path, "belongs to another program")
    known = len(_migrations())
    if version > known:
        raise ConfigurationError(
            f"the store {path} has schema {version}, this version of onex-grpc knows {known}; "
            "install the version that wrote it, or a newer one",
            context={"path": str(path)},
        )


def migrate(connection: apsw.Connection) -> None:
    """Brings the file to the newest schema, each step whole or not at all."""
    for number, script in enumerate(_migrations(), start=1):
        if number <= connection.pragma("user_version"):
            continue
        with connection:
            connection.execute(script)
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", number)


def _migrations() -> list[str]:
    folder = resources.files("onex_grpc.store.sqlite") / "migrations"
    scripts = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(folder / name).read_text(encoding="utf-8") for name in scripts]


def _foreign(path: Path, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"the store {path} {what}; set another state folder, or move that file away",
        context={"path": str(path)},
    )
