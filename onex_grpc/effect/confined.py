"""Opens files below a root folder and nowhere else, whatever the path or the links in it say."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from onex_grpc.errors import FileMissingError, OperationRefusedError, UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LONGEST: Final = 4096


class ConfinedRoot:
    """A folder whose files are reached part by part, never through a symbolic link.

    Each part is opened relative to the one before, so that a folder that is exchanged for a link
    between check and use leads nowhere.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def split(self, path: str) -> tuple[list[str], str]:
        """The folders and the file name of a path.

        Raises:
            OperationRefusedError: for a path that is empty, absolute, has `..` or a NUL.
        """
        parts = path.split("/")
        if (
            len(path) > _LONGEST
            or "\0" in path
            or "\\" in path
            or any(part in ("", ".", "..") for part in parts)
        ):
            raise OperationRefusedError(
                f"path {path[:100]!r} is not a plain path below the target's root; "
                "write it like `folder/file.txt`",
                context={"path": path[:100]},
            )
        return parts[:-1], parts[-1]

    def open_folder(self, folders: list[str], *, create: bool) -> int:
        """A descriptor of a folder below the root; the caller closes it.

        Raises:
            FileMissingError: when it does not exist and is not to be created.
            OperationRefusedError: when a part of it is a link or no folder.
        """
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for folder in folders:
            try:
                inner = _open_inner(descriptor, folder, create=create)
            except OSError as error:
                raise translated(error, "/".join(folders)) from error
            finally:
                os.close(descriptor)
            descriptor = inner
        return descriptor


def open_regular(folder: int, name: str, path: str) -> int:
    """A descriptor of a regular file for reading; the caller closes it.

    Raises:
        FileMissingError: when there is no such file.
        OperationRefusedError: when it is a link, a device, a pipe or has several names.
    """
    try:
        # Non-blocking: opening a pipe without a writer would wait for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=folder)
    except OSError as error:
        raise translated(error, path) from error
    status = os.fstat(descriptor)
    # A second name may be one outside of the root.
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise OperationRefusedError(
            f"{path!r} is not a regular file with one name", context={"path": path}
        )
    return descriptor


def _open_inner(descriptor: int, folder: str, *, create: bool) -> int:
    if create:
        try:
            os.mkdir(folder, dir_fd=descriptor)
        except FileExistsError:
            pass
        else:
            os.fsync(descriptor)
    return os.open(folder, _DIRECTORY, dir_fd=descriptor)


def translated(
    error: OSError, path: str
) -> FileMissingError | OperationRefusedError | UnavailableError:
    """The error of the mesh for one of the operating system."""
    if isinstance(error, FileNotFoundError):
        return FileMissingError(f"{path!r} does not exist", context={"path": path})
    if isinstance(error, PermissionError | IsADirectoryError | NotADirectoryError) or (
        error.errno in (errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO)
    ):
        text = f"{path!r} cannot be used: {error.strerror}"
        return OperationRefusedError(text, context={"path": path})
    return UnavailableError(f"{path!r}: {error.strerror}", context={"path": path})
