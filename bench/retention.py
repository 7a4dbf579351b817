"""What keeps a store from growing: all that is over is removed soon after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.store import PurgePosition, Retention

if TYPE_CHECKING:
    from onex_grpc.store import Store

EVERY: Final = 5_000
"""A sweep begins after so many completed intents."""
_PORTION: Final = 500
_AT_ONCE: Final = Retention(intents_us=1, events_us=1, history_us=1, actions_us=1, outcomes_us=1)


async def sweep(store: Store) -> None:
    """Removes what is there now, in portions between the others' transactions."""
    position = PurgePosition()
    while not (purged := await store.purge(_AT_ONCE, position, _PORTION)).done:
        position = purged.position
