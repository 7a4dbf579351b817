"""How a process finds the other nodes of its mesh, and is found by them."""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING, Final

from onex.v1 import registry_pb2
from onex_grpc.contract.address import is_wildcard
from onex_grpc.node.orchestrator import NodeOrchestrator
from onex_grpc.registry import Member, Membership, OwnMembership
from onex_grpc.rpc.client import Mesh
from onex_grpc.rpc.directory import Directory
from onex_grpc.rpc.follower import Follower
from onex_grpc.serve.client_tls import client_tls
from onex_grpc.serve.instance import fresh_name
from onex_grpc.store.keys import STORE_ID
from onex_grpc.store.protocol import Store

if TYPE_CHECKING:
    from onex_grpc.node.base import Node
    from onex_grpc.serve.host import NodeHost
    from onex_grpc.serve.settings import Settings

_log = logging.getLogger(__name__)
_REGISTRY: Final = "orchestrator"


class Discovery:
    """A process's side of the registry: an orchestrator has its own, others that of the settings.

    Attributes:
        directory: where the other nodes are; None without a registry.
    """

    def __init__(self, settings: Settings, kind: str, name: str) -> None:
        self.directory: Directory | None = None
        self._settings = settings
        self._mesh: Mesh | None = None
        self._follower: Follower | None = None
        at = settings.registry_address()
        if kind == _REGISTRY:
            self.directory = Directory(f"the registry of {name}")
        elif at:
            self.directory = Directory(f"the registry at {at}")
            tls = None if settings.tls is None else client_tls(settings.tls)
            self._mesh = Mesh({_REGISTRY: at}, caller=name, tls=tls)
            self._follower = Follower(self._mesh, self.directory)

    def start(self, node: Node) -> None:
        """Begins to follow the registry; called before the node starts."""
        if isinstance(node, NodeOrchestrator) and self.directory is not None:
            node.registry.roll.fill(self.directory)
            # Workflows may have waited for a node that has come.
            self.directory.listen(node.engine.reconsider_all)
        elif self._follower is not None:
            self._follower.start()

    async def member(self, host: NodeHost, port: int) -> Member | None:
        """The process as a member of the mesh, not registered yet; None where it is none.

        Raises:
            DatabaseConnectionError: when the store cannot be asked what it is.
        """
        if self.directory is None:
            return None
        address = self._settings.advertise or _served_at(self._settings.host, port)
        if not address:
            _log.info("not in its own registry: set advertise to the host:port that others reach")
            return None
        process = registry_pb2.RegisteredNode(node=host.description, address=address)
        container = host.node.container
        if container.has_service(Store):
            store = container.get_service(Store)
            fresh = str(uuid.uuid4()).encode()
            process.store_id = (await store.get_or_create_secret(STORE_ID, fresh)).decode()
            process.instance = store.instance
        else:
            process.instance = fresh_name()
        if isinstance(host.node, NodeOrchestrator):
            return OwnMembership(host.node.registry.registrations, process)
        if self._mesh is None:
            raise AssertionError("other nodes have a directory only with a registry")
        return Membership(self._mesh, self.directory.source, process)

    async def close(self) -> None:
        """Ends it; the process has left the registry before."""
        if self._follower is not None:
            await self._follower.close()


def _served_at(host: str, port: int) -> str:
    if is_wildcard(host):
        return ""
    bare = host.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"
