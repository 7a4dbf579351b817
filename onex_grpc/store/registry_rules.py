"""What may stand in the registry beside what."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from onex_grpc.errors import StoreInUseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onex_grpc.store.model import NodeEntry

NODES_TOPIC: Final = "\tnodes"
"""What those wait for who wait for a change of the registry; neither an event nor a lease has such
a topic.
"""


def admitted(entry: NodeEntry, known: Sequence[NodeEntry], now_us: int) -> NodeEntry:
    """What the registry keeps of an entry; `known` are all of its node, by instance.

    Raises:
        StoreInUseError: one of them, be it the one that would be replaced, has another store_id.
    """
    other = next((each for each in known if each.store_id != entry.store_id), None)
    if other is not None:
        raise StoreInUseError(
            f"{entry.node} is registered as instance {other.instance!r}, which keeps its state in "
            "another store; processes of one node share one PostgreSQL: set `store`, or stop that "
            "process",
            context={
                "node": other.node,
                "instance": other.instance,
                "registrar": other.registrar,
                "store_id": other.store_id,
            },
        )
    before = next((each for each in known if each.instance == entry.instance), None)
    return replace(entry, registered_us=now_us if before is None else before.registered_us)
