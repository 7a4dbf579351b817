"""The account of what has happened outside: every effect and every change of state, once each."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from trips.v1 import parts_pb2

from onex.v1 import reducer_pb2, reducer_pb2_grpc
from onex_grpc.contract import data
from onex_grpc.rpc.client import Mesh
from tests.outage.nodes import SOLD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.outage.house import House


async def wrong_entries(house: House, ended: Sequence[str], failed: Sequence[str]) -> list[str]:
    """Return the tickets and seats that do not exist as often as they should, in words.

    Args:
        house: where they are.
        ended: workflows that have come to their result: one ticket and one seat each.
        failed: others, which may have come to one or to none.
    """
    path = house.folder / SOLD
    tickets = Counter(path.read_text().split() if path.exists() else [])
    async with Mesh({"reducer": house.address("reducer")}) as mesh:
        seats = Counter({name: await _taken(mesh, name) for name in (*ended, *failed)})
    allowed = {**dict.fromkeys(failed, (0, 1)), **dict.fromkeys(ended, (1,))}
    return [
        f"{what} {name}: {counts[name]} instead of {' or '.join(map(str, right))}"
        for what, counts in (("ticket", tickets), ("seat", seats))
        for name, right in {**dict.fromkeys(counts, (0,)), **allowed}.items()
        if counts[name] not in right
    ]


async def _taken(mesh: Mesh, name: str) -> int:
    stub = mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
    answer = await stub.GetState(reducer_pb2.GetStateRequest(state_key=name), timeout=10)
    if not answer.version:
        return 0
    seat = data.unpack_as(answer.state, parts_pb2.Seat)
    # Each change of a seat is a version of it.
    return max(seat.taken, answer.version)
