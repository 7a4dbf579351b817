"""Whether a store's file is whole, looked at where its last process did not stop cleanly."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw

from onex_grpc.errors import StoreError

_SHOWN_FAULTS: Final = 5


def was_left_open(path: Path) -> bool:
    """Whether the last process ended without closing the store: then its log is still there."""
    log = Path(f"{path}-wal")
    return log.exists() and log.stat().st_size > 0


def check_integrity(connection: apsw.Connection, path: Path) -> None:
    """Reads the whole file.

    Raises:
        StoreError: it is damaged; names the first faults.
    """
    try:
        rows = connection.execute(f"PRAGMA integrity_check({_SHOWN_FAULTS})").fetchall()
        faults = [str(row[0]) for row in rows]
    except apsw.CorruptError as error:
        faults = [str(error)]
    if faults != ["ok"]:
        raise StoreError(
            f"the store {path} is damaged ({'; '.join(faults)[:500]}); restore a backup with "
            "`onex restore`",
            context={"path": str(path)},
        )
