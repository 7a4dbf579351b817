"""Where a store's file may lie: a folder that can be written, on a file system of this machine."""

from __future__ import annotations

import os
import re
from errno import EISDIR, ENOTSUP
from pathlib import Path
from typing import Final

from onex_grpc.errors import ConfigurationError
from onex_grpc.store.sqlite.failures import not_opened

# SQLite's WAL needs memory that all who open the file share (https://www.sqlite.org/wal.html), and
# flock that holds.
_NETWORK: Final = frozenset(
    [
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.ceph-fuse",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.juicefs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "orangefs",
        "smb3",
        "smbfs",
    ]
)
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
_MOUNTS: Final = Path("/proc/self/mountinfo")


def prepare_folder(path: Path) -> None:
    """Makes the store's folder and proves that files can be made in it.

    Raises:
        ConfigurationError: the folder cannot be made or written, or lies on a network file system.
        DatabaseConnectionError: its disk is full.
    """
    if _MOUNTS.exists():
        refuse_network(path, _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape"))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(EISDIR, "it is a folder, not a file")
        if path.exists() and not path.is_file():
            raise OSError(ENOTSUP, "it is a device or a pipe, not a file")
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise not_opened(path, error) from error


def require_file(store: Path) -> None:
    """Lets a path through at which there is a file.

    Raises:
        ConfigurationError: there is none.
    """
    if not store.is_file():
        raise ConfigurationError(
            f"there is no store at {store}; name the file of one, such as .onex/reducer-orders.db"
        )


def refuse_network(path: Path, mountinfo: str) -> None:
    """Refuses a path on a network file system.

    Args:
        path: the store's file.
        mountinfo: the text of /proc/self/mountinfo (proc_pid_mountinfo(5)).

    Raises:
        ConfigurationError: the file system is known to be one of a network.
    """
    # Not Path.resolve, which raises no OSError for links that lead in a circle.
    kind = _file_system(Path(os.path.realpath(path)), mountinfo)
    if kind in _NETWORK:
        raise ConfigurationError(
            f"the store {path} lies on the network file system {kind}, where SQLite loses data; "
            "use a local disk",
            context={"path": str(path), "file_system": kind},
        )


def _file_system(path: Path, mountinfo: str) -> str:
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        left, separator, right = line.partition(" - ")
        fields = left.split(" ")
        if not separator or len(fields) < 5:
            continue
        # The kernel writes space, tab, newline and backslash as octal escapes.
        mount = Path(_ESCAPED.sub(lambda escaped: chr(int(escaped[1], 8)), fields[4]))
        # A later mount hides an earlier one on the same folder.
        if path.is_relative_to(mount) and len(mount.parts) >= best:
            best, kind = len(mount.parts), right.split(" ", 1)[0]
    return kind
