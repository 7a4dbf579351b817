"""The settings of one node's process: what they are, and what each one means."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec

from onex_grpc.contract.address import address_fault, is_wildcard
from onex_grpc.contract.node import INSTANCE_PATTERN, KIND_ORDER, Target, parse_target
from onex_grpc.effect.settings import TargetSettings
from onex_grpc.errors import ConfigurationError, ContractValidationError
from onex_grpc.lease.settings import LeaseSettings
from onex_grpc.rpc.server import is_loopback
from onex_grpc.store.retention import FOREVER_US, Retention

_MAX_PORT: Final = 65535
DEFAULT_PORTS: Final = dict(zip(KIND_ORDER, range(50051, 50055), strict=True))
"""The port of each kind of node where nothing else is set."""

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
_LONGEST_SECONDS: Final = 366 * 86_400
Seconds = Annotated[float, msgspec.Meta(ge=0, le=_LONGEST_SECONDS)]
Age = Annotated[float, msgspec.Meta(ge=0, le=100 * _LONGEST_SECONDS)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Name = Annotated[str, msgspec.Meta(min_length=1)]
Instance = Annotated[str, msgspec.Meta(pattern=rf"^(?:{INSTANCE_PATTERN})?\Z")]
TargetName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,128}\Z")]
_ADDRESS: Final = re.compile(r"[^\s:]+:[0-9]{1,5}|\[[0-9A-Fa-f:.]+\]:[0-9]{1,5}")


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what stands in onex.toml: an unknown key is an error."""


class TlsSettings(_Section, frozen=True, kw_only=True):
    """Encryption of what is served and of what is called.

    Attributes:
        mode: `tls` proves the server to the client, `mtls` each to the other.
        cert: file with the certificate chain of this node (PEM), for both sides.
        key: file with its private key (PEM).
        ca: file with the certificates that are trusted (PEM).
        server_name: name that the certificates of called nodes must have; their host where empty.
    """

    mode: Literal["tls", "mtls"]
    cert: Name
    key: Name
    ca: Name
    server_name: str = ""


class LimitSettings(_Section, frozen=True, kw_only=True):
    """What one process bears.

    Attributes:
        message_bytes: largest message that is received or sent.
        concurrent_calls: calls at a time; nine times as many may wait for their turn, and more are
            refused with RESOURCE_EXHAUSTED.
        queue_seconds: how long a call waits for its turn before it is refused; 0 refuses at once.
        memory_bytes: resident memory at which the node's health has it fully used; the machine's
            where absent.
    """

    # gRPC keeps it in a C int.
    message_bytes: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] = 4 * 1024 * 1024
    concurrent_calls: Positive = 1000
    queue_seconds: Seconds = 5.0
    memory_bytes: Positive | None = None


class RetentionSettings(_Section, frozen=True, kw_only=True):
    """How long a store keeps what is over, in seconds; 0 is for ever.

    Actions and outcomes must outlive the longest outage after which they may be repeated: a repeat
    that finds no record, and says that it is older than that, is refused.

    Attributes:
        intents: from the end of a completed or cancelled intent on; dead ones stay.
        events: from the publishing of an event on.
        history: from the time on at which a version was no longer one of the newest.
        versions: how many of the newest versions of each state stay however old they are; those
            with a checkpoint stay as well.
        actions: from the end of an action on; those of open workflows stay.
        outcomes: from the recording of a keyed effect's outcome on.
    """

    intents: Age = 7 * 86_400.0
    events: Age = 7 * 86_400.0
    history: Age = 30 * 86_400.0
    versions: Positive = 1
    actions: Age = 30 * 86_400.0
    outcomes: Age = 30 * 86_400.0

    def rules(self) -> Retention:
        """The same for a store."""
        return Retention(
            intents_us=_age_us(self.intents),
            events_us=_age_us(self.events),
            history_us=_age_us(self.history),
            versions=self.versions,
            actions_us=_age_us(self.actions),
            outcomes_us=_age_us(self.outcomes),
        )


def _age_us(seconds: float) -> int:
    return round(seconds * 1e6) if seconds else FOREVER_US


class Settings(_Section, frozen=True, kw_only=True):
    """Everything that can be set for a node's process; several nodes may share one onex.toml.

    Attributes:
        name: the node's name, for a class that serves under several; its own where empty.
        host: the interface to serve on; without TLS only loopback.
        port: the port to serve on, 0 for any free one; 50051 to 50054 by kind where absent.
        state: folder of the stores, one file per node.
        store: the address of a database in which the node's store lies instead; may hold a
            password.
        instance: which of the node's processes this is, where several share a PostgreSQL store; one
            that keeps its name goes on with its own work at once when it starts again. A new name
            for each process where empty.
        log_level: debug, info, warning, error or critical.
        drain_grace: seconds for which running calls may finish when the process is to stop.
        reflection: whether clients may ask for the contracts (gRPC server reflection).
        require_lease: whether calls of the node's own service without a lease are refused.
        lease_check: `token` judges a call's lease by its token; `online` also asks the orchestrator
            for each call of an effect, compute or reducer node.
        addresses: where the other nodes are, as `host:port` by `kind` or `kind/name`, or a list of
            them where several processes serve the node.
        registry: the orchestrators at which the process registers, and by which it finds the nodes
            without an address: `host:port`, or a list of them; none where empty. What neither has
            is at the default ports on loopback. An orchestrator has a registry of its own.
        advertise: `host:port` at which others reach the process; where it serves if empty.
        tls: encryption; none where absent.
        limits: what the process bears.
        lease: durations of leases.
        retention: how long the store keeps what is over.
        targets: what an effect node may do to the outside world, by name.
        queues: reducers whose intents an effect node takes, as `kind` or `kind/name`.
        intents_in_flight: intents of one queue that an effect node executes at a time.
        intent_timeout: seconds that one attempt of an intent may take; longer, and it has failed.
    """

    name: str = ""
    host: str = "127.0.0.1"
    port: Port | None = None
    state: Name = ".onex"
    store: str = ""
    instance: Instance = ""
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "info"
    drain_grace: Seconds = 10.0
    reflection: bool = True
    require_lease: bool = False
    lease_check: Literal["token", "online"] = "token"
    addresses: dict[str, str | list[str]] = {}
    registry: str | list[str] = ""
    advertise: str = ""
    tls: TlsSettings | None = None
    limits: LimitSettings = LimitSettings()
    lease: LeaseSettings = LeaseSettings()
    retention: RetentionSettings = RetentionSettings()
    targets: dict[TargetName, TargetSettings] = {}
    queues: list[str] = []
    intents_in_flight: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 32
    intent_timeout: Annotated[float, msgspec.Meta(gt=0, le=_LONGEST_SECONDS)] = 60.0

    def __post_init__(self) -> None:
        if self.tls is None and not is_loopback(self.host):
            raise ConfigurationError(
                f"host {self.host}: without TLS a node serves on loopback only; "
                "add [tls] with mode, cert, key and ca, or use 127.0.0.1"
            )

        for name, address in self.addresses.items():
            _check_node("addresses", name)
            self._check_endpoints("addresses", f" of {name}", address)
        if self.registry:
            self._check_endpoints("registry", "", self.registry)
            if is_wildcard(self.host) and not self.advertise:
                raise ConfigurationError(
                    f"advertise: host {self.host} is every interface, and nobody can connect to "
                    "that; set advertise to the host:port that others reach"
                )
        if self.advertise and (fault := address_fault(self.advertise)):
            raise ConfigurationError(f"advertise: {fault}")
        for queue in self.queues:
            if _check_node("queues", queue).kind != "reducer":
                raise ConfigurationError(
                    f"queues: {queue!r} has no intents; name reducers, as reducer or reducer/orders"
                )
        if len(set(self.queues)) != len(self.queues):
            raise ConfigurationError(f"queues: {self.queues} names one twice; name each once")

    def _check_endpoints(self, key: str, whose: str, address: str | list[str]) -> None:
        endpoints = _endpoints(address)
        for each in endpoints:
            if not _ADDRESS.fullmatch(each) or int(each.rpartition(":")[2]) > _MAX_PORT:
                raise ConfigurationError(
                    f"{key}: {each!r}{whose} is not host:port, such as 127.0.0.1:50053"
                )
        if len(endpoints) > 1 and self.tls is not None and not self.tls.server_name:
            raise ConfigurationError(
                f"{key}:{whose.removeprefix(' of')} has several endpoints; with [tls] name in "
                "server_name what their certificates have in common"
            )

    def __repr__(self) -> str:
        # The store's address may hold a password.
        shown = (name for name in self.__struct_fields__ if name != "store")
        return f"Settings({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def port_for(self, kind: str) -> int:
        """The port that a node of this kind serves on."""
        return DEFAULT_PORTS[kind] if self.port is None else self.port

    def mesh_addresses(self) -> dict[str, str]:
        """Where the nodes are that have an address in the settings."""
        return {name: ",".join(_endpoints(at)) for name, at in self.addresses.items()}

    def default_addresses(self) -> dict[str, str]:
        """The default ports of the kinds of which no node has an address in the settings."""
        named = {target.partition("/")[0] for target in self.addresses}
        return {
            kind: f"127.0.0.1:{port}" for kind, port in DEFAULT_PORTS.items() if kind not in named
        }

    def registry_address(self) -> str:
        """The registry as a channel takes it; empty where there is none."""
        return ",".join(_endpoints(self.registry)) if self.registry else ""


def _endpoints(address: str | list[str]) -> list[str]:
    listed = address.split(",") if isinstance(address, str) else address
    # At least one, so that an empty list is refused as well.
    return [endpoint.strip() for endpoint in listed] or [""]


def _check_node(key: str, name: str) -> Target:
    try:
        return parse_target(name)
    except ContractValidationError:
        raise ConfigurationError(f"{key}: {name!r} is not `kind` or `kind/name`") from None
