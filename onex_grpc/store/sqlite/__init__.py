"""The store in one SQLite file per process: no server, group commit, fully durable."""

from onex_grpc.store.sqlite.opening import open_sqlite
from onex_grpc.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore", "open_sqlite"]
