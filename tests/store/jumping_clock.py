"""A wall clock that jumps for other processes: for servers as for nodes, gRPC's core included."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 3600


class JumpingClock:
    """The clock of the processes that are started with `environment`.

    Attributes:
        environment: what these processes need.
    """

    def __init__(self, folder: Path, library: Path) -> None:
        self._offset = folder / "offset"
        self._offset.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "JUMPING_CLOCK": str(self._offset)}

    def set(self, seconds: int) -> None:
        """Puts the clock so many seconds before (below 0) or after the true time."""
        with self._offset.open("r+b") as file:
            file.write(seconds.to_bytes(8, "little", signed=True))


@contextmanager
def jumping_clock() -> Iterator[JumpingClock]:
    """A clock in a folder that every user may enter, since PostgreSQL does not run as root."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler, which a clock of their own for other processes needs")
    with tempfile.TemporaryDirectory(prefix="onex-clock-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        library = folder / "clock.so"
        source = Path(__file__).with_suffix(".c")
        made = subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-o", library, source],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if made.returncode:
            pytest.skip(f"no library can be made here: {made.stderr.strip()[-200:]}")
        yield JumpingClock(folder, library)
