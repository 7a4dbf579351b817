"""The store in a PostgreSQL database: state that outlives its host."""

from onex_grpc.store.postgres.opening import open_postgres
from onex_grpc.store.postgres.store import PostgresStore

__all__ = ["PostgresStore", "open_postgres"]
