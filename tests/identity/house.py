"""The four processes of a mesh, which die together."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from depot.v1 import depot_pb2
from depot.v1.depot_onex import AccountClient, CourierClient, DeliveryClient

from onex.v1 import (
    effect_pb2_grpc,
    event_pb2_grpc,
    orchestrator_pb2_grpc,
    reducer_pb2,
    reducer_pb2_grpc,
)
from onex_grpc.contract.data import unpack_as
from onex_grpc.rpc.client import Mesh
from onex_grpc.testing.process import NodeProcess
from servers.supervisor import free_ports
from tests.identity.nodes import LEDGER, NEWS

if TYPE_CHECKING:
    import random

_ROOT: Final = Path(__file__).parents[2]
_PATHS: Final = (_ROOT, _ROOT / "generated", _ROOT / "tests/mesh/typed/generated")
_NODES: Final = {
    "compute": "Scale",
    "reducer": "Account",
    "effect": "Courier",
    "orchestrator": "Delivery",
}
_SCHEMA: Final = "CREATE TABLE IF NOT EXISTS shipments(parcel TEXT, leg TEXT, cents INTEGER);"
_SETTINGS: Final = """
state = "state"
{store}
queues = ["reducer/account"]
drain_grace = 0.2

[addresses]
{addresses}

[targets.{ledger}]
kind = "sqlite"
path = "ledger.db"
schema = "ledger.sql"
tables = {{shipments = ["parcel", "leg", "cents"]}}

[targets.{news}]
kind = "event_log"
topic = "news"
"""


class House:
    """A mesh of real processes, and a client of it.

    Attributes:
        addresses: where the nodes serve, by their kinds.
        mesh: calls as an outside client makes them.
    """

    def __init__(self, folder: Path, store: str, chance: random.Random) -> None:
        """Writes the settings; nothing runs yet.

        Args:
            folder: of settings, logs, stores and the ledger.
            store: address of a PostgreSQL server; empty for SQLite files.
            chance: gives each process a seed of its own for its hashes.
        """
        self._folder = folder
        self._chance = chance
        self._ports = dict(zip(_NODES, free_ports(len(_NODES)), strict=True))
        self.addresses = {kind: f"127.0.0.1:{port}" for kind, port in self._ports.items()}
        self._processes: list[NodeProcess] = []
        (folder / "ledger.sql").write_text(_SCHEMA)
        settings = _SETTINGS.format(
            store=f'store = "{store}"' if store else "",
            addresses="\n".join(f'{kind} = "{at}"' for kind, at in self.addresses.items()),
            ledger=LEDGER,
            news=NEWS,
        )
        (folder / "onex.toml").write_text(settings)
        self.mesh = Mesh(self.addresses)
        self.deliveries = DeliveryClient(self.mesh)
        self.accounts = AccountClient(self.mesh)
        self.couriers = CourierClient(self.mesh)
        self.orchestrator = self.mesh.stub(
            orchestrator_pb2_grpc.OrchestratorNodeServiceStub, "orchestrator"
        )
        self.reducer = self.mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
        self.effect = self.mesh.stub(effect_pb2_grpc.EffectNodeServiceStub, "effect")
        self.bus = self.mesh.stub(event_pb2_grpc.EventBusServiceStub, "orchestrator")

    async def start(self) -> None:
        """Starts all processes at once; returns when they serve."""
        self._processes = [
            NodeProcess(
                f"tests.identity.nodes:{name}",
                folder=self._folder,
                port=self._ports[kind],
                environment={
                    "PYTHONPATH": os.pathsep.join(map(str, _PATHS)),
                    "PYTHONHASHSEED": str(self._chance.randrange(2**32)),
                },
                start_timeout=60.0,
            )
            for kind, name in _NODES.items()
        ]
        await asyncio.gather(*(process.start() for process in self._processes))

    async def kill(self) -> None:
        """Kills all processes at once with SIGKILL."""
        await asyncio.gather(*(process.kill() for process in self._processes))

    async def close(self) -> None:
        """Closes the client, and ends what still runs."""
        await self.mesh.close()
        await self.kill()

    async def account(self, name: str) -> depot_pb2.Account:
        """The state of an account."""
        found = await self.reducer.GetState(reducer_pb2.GetStateRequest(state_key=name))
        return unpack_as(found.state, depot_pb2.Account)

    def shipments(self) -> list[tuple[str, str, int]]:
        """All rows of the ledger: parcel, leg, cents."""
        path = self._folder / "ledger.db"
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT parcel, leg, cents FROM shipments").fetchall()
