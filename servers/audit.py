"""What really happened: the orders of a run as they lie in the database, the Maildir and the event
log.
"""

from __future__ import annotations

import asyncio
import mailbox
from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import apsw

from onex.v1 import event_pb2, event_pb2_grpc
from onex_grpc.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from onex_grpc.rpc import Mesh
    from servers.orders_file import OrderRow

TOPIC = "order-events"

_READ_SECONDS = 60.0
_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Audit:
    """Figures of one run, counted where the effects arrived."""

    orders: int
    shipped: int
    amount_cents: int
    emails: int
    events: int
    duplicates: int
    rejected: int

    def summary(self) -> str:
        """The figures on one line; `rejected` only where a row was."""
        figures = asdict(self)
        cents = figures.pop("amount_cents")
        rejected = figures.pop("rejected")
        words = {
            "orders": self.orders,
            "shipped": self.shipped,
            "amount_usd": f"{cents // 100}.{cents % 100:02d}",
            "emails": self.emails,
            "events": self.events,
            "duplicates": self.duplicates,
        }
        if rejected:
            words["rejected"] = rejected
        return " ".join(f"{name}={value}" for name, value in words.items())

    def disagreements(self, rows: Iterable[OrderRow]) -> list[str]:
        """Every figure that is not what the accepted rows of the CSV file demand."""
        accepted = list(rows)
        expected = {
            "orders": len(accepted),
            "shipped": len(accepted),
            "amount_cents": sum(row.amount_cents for row in accepted),
            "emails": len(accepted),
            "events": len(accepted),
            "duplicates": 0,
        }
        return [
            f"{name} is {getattr(self, name)}, the file says {value}"
            for name, value in expected.items()
            if getattr(self, name) != value
        ]


async def count(rows: Iterable[OrderRow], rejected: int, state: Path, mesh: Mesh) -> Audit:
    """Counts the orders of these rows in the orders database, the Maildir and the event log."""
    wanted = {row.order_id for row in rows}
    stored = _stored_orders(state / "orders.db", wanted)
    journal = _journal(state / "orders.db", wanted)
    mails = _mails(state / "mail", wanted)
    events = await count_events(mesh, wanted)
    return Audit(
        orders=len(stored),
        shipped=sum(1 for status, _ in stored.values() if status == "SHIPPED"),
        amount_cents=sum(cents for _, cents in stored.values()),
        emails=mails.total(),
        events=events.total(),
        duplicates=_repeated(journal) + _repeated(mails) + _repeated(events),
        rejected=rejected,
    )


def _repeated(counts: Mapping[str, int]) -> int:
    return sum(1 for entries in counts.values() if entries > 1)


def _stored_orders(path: Path, wanted: set[str]) -> dict[str, tuple[str, int]]:
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        rows = db.execute("SELECT order_id, status, amount_cents FROM orders").fetchall()
    return {
        str(key): (str(status), int(str(cents))) for key, status, cents in rows if key in wanted
    }


def _journal(path: Path, wanted: set[str]) -> Counter[str]:
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        rows = db.execute("SELECT order_id, status FROM order_journal").fetchall()
    return Counter(f"{key}/{status}" for key, status in rows if key in wanted)


def _mails(path: Path, wanted: set[str]) -> Counter[str]:
    # The subject is "Order <order_id> confirmed"; it does not depend on how the file is named.
    subjects = (str(message["subject"]) for message in mailbox.Maildir(path, create=False))
    return Counter(key for subject in subjects if (key := subject.split()[1]) in wanted)


async def count_events(mesh: Mesh, wanted: set[str]) -> Counter[str]:
    """How often each of these orders stands in the event log.

    Reads it again from the beginning where the orchestrator is restarted meanwhile.
    """
    bus = mesh.stub(event_pb2_grpc.EventBusServiceStub, "orchestrator")
    async with asyncio.timeout(_READ_SECONDS):
        while True:
            try:
                return await _read_events(bus, wanted)
            except UnavailableError:
                await asyncio.sleep(_PAUSE_SECONDS)


async def _read_events(bus: event_pb2_grpc.EventBusServiceStub, wanted: set[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    head = 0
    subscription = bus.Subscribe(event_pb2.SubscribeRequest(topic=TOPIC), timeout=_READ_SECONDS)
    async for message in subscription:
        if message.HasField("started"):
            head = message.started.head_sequence
        elif message.event.key in wanted:
            counts[message.event.key] += 1
        if message.event.sequence >= head:
            break
    subscription.cancel()
    return counts
