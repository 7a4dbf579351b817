"""The history of a state, entry by entry, as messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.any_pb2 import Any
from google.protobuf.timestamp_pb2 import Timestamp

from onex.v1 import common_pb2, history_pb2
from onex_grpc.store.portion import Portion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from onex_grpc.store.model import HistoryEntry
    from onex_grpc.store.protocol import StateStore

# States may be large: a page of them is what is held in memory at a time.
_PAGE: Final = 16
_PAGE_BYTES: Final = 1024 * 1024
_TYPE_PREFIX: Final = "type.googleapis.com/"


async def stream_history(store: StateStore, key: str, after: int) -> AsyncIterator[HistoryEntry]:
    """Yield the kept versions of a state above `after`, read page by page."""
    portion = Portion(_PAGE, _PAGE_BYTES)
    while page := await store.list_history(key, after, portion.rows):
        portion.learn([len(entry.state) for entry in page])
        for entry in page:
            yield entry
        after = page[-1].version


def entry_message(entry: HistoryEntry, lease_id: str) -> history_pb2.HistoryEntry:
    """An entry as a message; `lease_id` is shown instead of its own, which may be a secret."""
    state = Any(type_url=_TYPE_PREFIX + entry.state_type, value=entry.state)
    return history_pb2.HistoryEntry(
        version=entry.version,
        kind=entry.kind,
        written_at=timestamp(entry.written_us),
        state=common_pb2.Data(message=state),
        fence=entry.fence,
        holder=entry.holder,
        lease_id=lease_id,
        action_id=entry.action_id,
        parent_action_id=entry.parent_action_id,
        checkpoints=entry.checkpoints,
    )


def timestamp(microseconds: int) -> Timestamp:
    """A store's time as a message."""
    message = Timestamp()
    message.FromMicroseconds(microseconds)
    return message
