"""One process per SQLite store."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

from onex_grpc.errors import StoreInUseError
from onex_grpc.forks import keep_from_children

if TYPE_CHECKING:
    from pathlib import Path


_UNCHECKED: Final = "unchecked"


class StoreLock:
    """An flock on `<store>.lock`, which the kernel gives up when the process ends, however it ends.

    Holding it proves that an earlier process of the same store is gone.

    Attributes:
        unchecked: an earlier process left the store in the middle of something, and nobody has
            found it whole since.
    """

    def __init__(self, path: Path) -> None:
        """Takes the lock.

        Raises:
            StoreInUseError: another process holds it; names its pid.
        """
        # The file stays when the lock is given up: two processes could lock two files of one name
        # otherwise.
        self._file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid, _ = _read(self._file)
            os.close(self._file)
            raise StoreInUseError(
                _in_use(path, pid), context={"path": str(path), "pid": pid}
            ) from None
        # It belongs to all who have it open: a child that outlives this process would keep it.
        self._share = keep_from_children(lambda: (self._file,))
        _, self.unchecked = _read(self._file)
        self.mark(unchecked=self.unchecked)

    def mark(self, *, unchecked: bool) -> None:
        """Notes whether the store's file is still to be checked, for processes to come."""
        self.unchecked = unchecked
        text = f"{os.getpid()}\n{_UNCHECKED if unchecked else ''}"
        # Never empty: a process that is killed here must not lose the mark.
        os.ftruncate(self._file, os.pwrite(self._file, text.encode("ascii"), 0))
        os.fsync(self._file)

    def release(self) -> None:
        """Gives the lock up."""
        self._share()
        os.close(self._file)


def _read(file: int) -> tuple[str, bool]:
    """The process that had the store last, and whether it left it unchecked."""
    pid, _, mark = os.pread(file, 64, 0).decode("ascii", "replace").partition("\n")
    return pid.strip() or "unknown", mark.startswith(_UNCHECKED)


def _is_gone(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        pass
    return False


def _in_use(path: Path, pid: str) -> str:
    if _is_gone(pid):
        return (
            f"the store {path} is in use, although process {pid}, which opened it, is not to be "
            f"seen from here; find who holds {path}.lock (`fuser`, `lsof`) and stop that process"
        )
    return (
        f"the store {path} is in use by process {pid}; stop it, or give this process another "
        "state folder"
    )
