"""Connections to a store's database, and how they are set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakSet

import psycopg
from psycopg import conninfo, errors
from psycopg.pq import PGconn, Ping
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper

from onex_grpc.errors import ConfigurationError, StoreInUseError
from onex_grpc.forks import keep_from_children

Connection = psycopg.Connection[tuple[Any, ...]]

_CONNECT_SECONDS: Final = 5
# A name longer than this is cut off by PostgreSQL, and two could become one.
_NAME_BYTES: Final = 63
# A lock of a process that was just killed goes with its last statement.
_OWNER_WAIT: Final = "3s"
_SESSION: Final = {
    "lock_timeout": "5s",
    "statement_timeout": "60s",
    # Of a process that was stopped in the middle of a transaction, so that others get its locks,
    # before their own lock_timeout has them fail.
    "idle_in_transaction_session_timeout": "3s",
    # A host that vanished gives its locks up after some 25 s instead of hours.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "default_transaction_isolation": "read committed",
}
# The writer finds all rows by their keys. A plan is made once and kept, so it must not be one that
# only suits the small tables which it was made for.
_WRITER: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "jit": "off",
}
# Longer than a statement may take. It is for who is stopped halfway through sending a large
# statement, which no other limit of the server ends; it knows this one since its version 17.
_TRANSACTION: Final = "65s"
_HAS_IT: Final = 170_000
_DEFAULTS: Final = {
    "connect_timeout": str(_CONNECT_SECONDS),
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    # What was sent and is not acknowledged for so long (ms) ends the connection.
    "tcp_user_timeout": "25000",
    "target_session_attrs": "read-write",
}


_opened: Final[WeakSet[Connection]] = WeakSet()


def _sockets() -> list[int]:
    return [each.pgconn.socket for each in tuple(_opened) if not each.closed]


# A session lasts, and keeps its locks, while anybody has its connection open.
keep_from_children(_sockets)


def schema_of(owner: str) -> str:
    """The name of the schema in which a node's store lies."""
    name = f"onex/{owner}" if owner else "onex"
    if len(name.encode()) <= _NAME_BYTES:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return name.encode()[: _NAME_BYTES - 17].decode(errors="ignore") + "/" + digest


def limit_transactions(connection: Connection) -> None:
    """Has the server end transactions that take too long, where it can; migrations may."""
    if connection.info.server_version >= _HAS_IT:
        connection.execute("SELECT set_config('transaction_timeout', %s, false)", (_TRANSACTION,))


@dataclass(frozen=True, slots=True)
class Connector:
    """Opens the connections of one store.

    Attributes:
        parameters: of libpq, as `parse` gives them.
        schema: the schema of the store's tables.
        owner: whose store it is; where it is given, one process at a time writes.
        instance: which of the owner's processes this is; one process at a time writes as each.
    """

    parameters: dict[str, str]
    schema: str
    owner: str
    instance: str = ""

    @classmethod
    def parse(cls, address: str, schema: str, owner: str, instance: str = "") -> Connector:
        """Reads `postgresql://user@host:port/database?option=value`.

        Raises:
            ConfigurationError: it is no such address; what it says is not shown, since it may hold
                a password.
        """
        try:
            given = conninfo.conninfo_to_dict(address)
        except psycopg.ProgrammingError:
            raise ConfigurationError(
                "store: this is no address of a PostgreSQL database; write "
                "postgresql://user@host:5432/database"
            ) from None
        parameters = {key: str(value) for key, value in given.items()}
        name = " ".join(filter(None, ("onex-grpc", owner, instance)))[:_NAME_BYTES]
        return cls({"application_name": name, **_DEFAULTS, **parameters}, schema, owner, instance)

    def connect(self) -> Connection:
        """Opens a connection for reads, or for migrations.

        Raises:
            psycopg.Error: the server cannot be reached or refuses.
        """
        connection: Connection = psycopg.connect(
            **self.parameters,  # type: ignore[arg-type]
            autocommit=True,
            prepare_threshold=2,
        )
        _opened.add(connection)
        try:
            # Of one type whatever their value, so that a statement is prepared once.
            connection.adapters.register_dumper(int, Int8BinaryDumper)
            connection.adapters.register_dumper(int, Int8Dumper)
            self._set(connection, {**_SESSION, "search_path": self.quoted_schema})
        except BaseException:
            connection.close()
            raise
        return connection

    def connect_writer(self) -> Connection:
        """Opens the connection that writes; it holds the owner's lock as long as it lasts.

        Raises:
            StoreInUseError: another process writes under this owner's name.
            psycopg.Error: the server cannot be reached or refuses.
        """
        connection = self.connect()
        try:
            self._set(connection, _WRITER)
            # A server may be set to acknowledge what is not durable; stronger settings stay.
            connection.execute(
                "SELECT set_config('synchronous_commit', 'on', false) "
                "WHERE current_setting('synchronous_commit') = 'off'"
            )
            if self.owner:
                self._lock_owner(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def is_down(self) -> bool:
        """Whether no server answers at the address, or one that is starting or stopping."""
        told = conninfo.make_conninfo(**self.parameters)
        return PGconn.ping(told.encode()) in (Ping.NO_RESPONSE, Ping.REJECT)

    def lock_name(self, instance: str) -> str:
        """The name that the process of an instance of the owner has locked while it may write."""
        return f"owner\n{self.schema}\n{instance}" if instance else f"owner\n{self.schema}"

    @property
    def quoted_schema(self) -> str:
        """The schema as it stands in a statement."""
        return '"' + self.schema.replace('"', '""') + '"'

    @property
    def channel(self) -> str:
        """Where the processes of this store tell each other what they have committed."""
        return "onex_" + hashlib.sha256(self.schema.encode()).hexdigest()[:32]

    def _set(self, connection: Connection, settings: dict[str, str]) -> None:
        for name, value in settings.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))

    def _lock_owner(self, connection: Connection) -> None:
        try:
            connection.execute("SELECT set_config('lock_timeout', %s, false)", (_OWNER_WAIT,))
            connection.execute(
                "SELECT pg_advisory_lock(hashtextextended(%s, 1))", (self.lock_name(self.instance),)
            )
            connection.execute(
                "SELECT set_config('lock_timeout', %s, false)",
                (_SESSION["lock_timeout"],),
            )
        except errors.LockNotAvailable:
            if self.instance:
                message = (
                    f"instance: {self.instance} of {self.owner} is another process already; stop "
                    "it, or give this one another instance"
                )
            else:
                message = (
                    f"the store of {self.owner} in PostgreSQL is in use by another process; stop "
                    "it, or give this node another name"
                )
            raise StoreInUseError(
                message, context={"owner": self.owner, "instance": self.instance}
            ) from None
