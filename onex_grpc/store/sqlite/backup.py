"""Backup of a store's file while it is in use, and its way back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import apsw

from onex_grpc.errors import ConfigurationError
from onex_grpc.store.keys import STORE_ID
from onex_grpc.store.sqlite.connection import open_reader, open_writer
from onex_grpc.store.sqlite.failures import translate
from onex_grpc.store.sqlite.integrity import check_copy
from onex_grpc.store.sqlite.location import prepare_folder, require_file
from onex_grpc.store.sqlite.lock import StoreLock
from onex_grpc.store.sqlite.schema import check_owner, migrate

# More than a store issues between two backups: no fence that was issued meanwhile comes again.
_FENCE_STEP: Final = 2**32


def backup(store: Path, target: Path) -> int:
    """Copies a store as it stands at this moment, which another process may write meanwhile.

    The copy appears under its name once it is whole and durable. Returns its size in bytes.

    Raises:
        ConfigurationError: there is no store, it is no store, or the target exists already.
        DatabaseConnectionError, StoreError: it cannot be read, or the copy not be written.
    """
    require_file(store)
    if target.exists():
        raise ConfigurationError(f"{target} exists; name a file that does not")
    draft = target.with_name(f"{target.name}.part")
    prepare_folder(draft)
    try:
        _copy(store, draft)
        os.replace(draft, target)
        _flush_folder(target)
    except apsw.Error as error:
        raise translate(error) from error
    finally:
        _remove_with_log(draft)
    return target.stat().st_size


def restore(source: Path, store: Path) -> Path | None:
    """Puts a backup in the place of a store that no process has open.

    Its fences go on far above those that were issued before, and all its leases have ended. It
    counts as another store than the one it was copied from, and nobody is registered in it. What
    was there is kept beside it, and returned.

    Raises:
        ConfigurationError: the source is no store, is one of a newer version, or the store cannot
            be written.
        StoreInUseError: a process has the store open.
        StoreError: the source is damaged.
    """
    require_file(source)
    existed = store.exists()
    prepare_folder(store)
    lock = StoreLock(store)
    draft = store.with_name(f"{store.name}.part")
    try:
        highest = _highest_fence(store) if existed else 0
        _remove_with_log(draft)
        prepare_folder(draft)
        _copy(source, draft)
        _renew(draft, source, highest)
        kept = _set_aside(store) if existed else None
        os.replace(draft, store)
        _flush_folder(store)
        lock.mark(unchecked=False)
    except apsw.Error as error:
        raise translate(error) from error
    finally:
        _remove_with_log(draft)
        lock.release()
    return kept


def _copy(source: Path, target: Path) -> None:
    reader = open_reader(source)
    copy = open_writer(target)
    try:
        check_owner(reader, source)
        with copy.backup("main", reader, "main") as steps:
            # In one step: between two, a write to the source would begin it anew.
            steps.step(-1)
        # One file is easier to keep than one with its log; opening it makes it a store's again.
        copy.pragma("journal_mode", "delete")
    finally:
        copy.close()
        reader.close()
    with open(target, "rb+") as file:
        os.fsync(file.fileno())


def _renew(path: Path, source: Path, highest: int) -> None:
    connection = open_writer(path)
    try:
        check_owner(connection, source)
        check_copy(connection, source)
        migrate(connection)
        with connection:
            connection.execute("UPDATE meta SET fence = max(fence, ?) + ?", (highest, _FENCE_STEP))
            connection.execute("UPDATE workflow SET expires_us = 0 WHERE expires_us > 0")
            connection.execute("DELETE FROM secret WHERE name = ?", (STORE_ID,))
            connection.execute("DELETE FROM node")
            connection.execute("UPDATE registry SET revision = revision + 1")
    finally:
        connection.close()
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _highest_fence(store: Path) -> int:
    """The last fence of the store to be replaced, which may be why a backup is needed at all."""
    try:
        connection = open_reader(store)
        try:
            row = connection.execute("SELECT fence FROM meta").fetchone()
        finally:
            connection.close()
    except apsw.Error:
        return 0
    return int(row[0]) if row is not None else 0


def _set_aside(store: Path) -> Path:
    number = 1
    while (kept := store.with_name(f"{store.name}.replaced-{number}")).exists():
        number += 1
    # With its log, or its last commits were lost; and the log must not meet another file.
    for suffix in ("-wal", "-shm", ""):
        part = Path(f"{store}{suffix}")
        if part.exists():
            os.replace(part, f"{kept}{suffix}")
    return kept


def _remove_with_log(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _flush_folder(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
