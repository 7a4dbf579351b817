"""A PostgreSQL server whose data, log of writes included, lie on a small disk of their own.

The disk is mounted in a namespace that only the server's processes see; run as a program, this
module is the parent of the server there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from servers.postgres import PostgresServer

if TYPE_CHECKING:
    from typing import Self

_MOUNT = 'mount -t tmpfs -o mode=755,size=96m none "$0" && exec "$@"'
_CHUNK = bytes(1 << 20)


class SmallDisk:
    """The server and its disk, while the block runs.

    Attributes:
        address: of the server's database.
    """

    def __init__(self) -> None:
        self.address = ""
        self._folder = tempfile.mkdtemp(prefix="onex-disk-", dir="/tmp")
        Path(self._folder).chmod(0o755)

    def refusal(self) -> str:
        """Why this machine mounts no disk for us; empty where it does."""
        tried = subprocess.run(self._inside("true"), capture_output=True, text=True, check=False)
        return tried.stderr.strip() if tried.returncode else ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._inside(sys.executable, "-m", "tests.store.small_disk", self._folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = self._answer()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.communicate(timeout=60)
        self.remove()

    def remove(self) -> None:
        """Removes the folder on which the disk was mounted."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def fill(self) -> None:
        """Leaves no block of the disk free."""
        self._ask("fill")

    def free(self) -> None:
        """Gives the space back, and starts the server again if it has ended."""
        self._ask("free")

    def is_up(self) -> bool:
        """Whether the server's main process runs."""
        return self._ask("state") == "up"

    def _inside(self, *command: str) -> list[str]:
        # PostgreSQL does not run as root, nor as who is mapped to root.
        user = () if os.geteuid() == 0 else ("--user", "--map-current-user", "--keep-caps")
        return ["unshare", "--mount", *user, "sh", "-c", _MOUNT, self._folder, *command]

    def _ask(self, what: str) -> str:
        assert self._process.stdin is not None
        print(what, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline().strip()
        assert answer, "the server's parent has ended"
        return answer


class _Server(PostgresServer):
    def is_up(self) -> bool:
        return self._process is not None and self._process.poll() is None


def _fill(ballast: Path) -> None:
    with ballast.open("ab", buffering=0) as file:
        for chunk in (_CHUNK, _CHUNK[:4096]):
            with suppress(OSError):
                while True:
                    file.write(chunk)


def _say(answer: str) -> None:
    sys.stdout.write(answer + "\n")
    sys.stdout.flush()


def _run(folder: Path) -> None:
    ballast = folder / "ballast"
    with _Server(folder / "data") as server:
        _say(server.address)
        for line in sys.stdin:
            match line.strip():
                case "fill":
                    _fill(ballast)
                case "free":
                    ballast.unlink()
                    if not server.is_up():
                        server.start()
            _say("up" if server.is_up() else "down")


if __name__ == "__main__":
    _run(Path(sys.argv[1]))
