"""A state that says what was committed with it, so that half a commit shows."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

import msgspec

from onex_grpc.store import ActionRecord, Commit, Exact, FenceOnly, Guard, NewIntent

if TYPE_CHECKING:
    import random

    from onex_grpc.store import ActionRecord as Action

_SCOPE: Final = "torture"
_PADDING: Final = 2000


class Content(msgspec.Struct, frozen=True):
    """The state of a key at a version.

    Attributes:
        round: in which it was written: a version that was lost and written anew has another one.
        intents: the ids of the intents committed with it.
        actions: the ids of the actions committed with it.
        fence: of the lease under which it was committed; 0 without, or where the commit granted it.
        padding: fills pages.
    """

    key: str
    version: int
    round: int
    intents: list[str]
    actions: list[str]
    fence: int
    padding: str


def checksum(state: bytes) -> int:
    """By which an acknowledged state is known again."""
    return zlib.crc32(state)


def change(
    chance: random.Random,
    *,
    key: str,
    version: int,
    round_number: int,
    guard: Guard | None = None,
    release: bool = False,
) -> Commit:
    """The commit that leads a key to a version."""
    name = f"{key}:{version}:{round_number}"
    content = Content(
        key=key,
        version=version,
        round=round_number,
        intents=[f"{name}:i{index}" for index in range(chance.choice((0, 1, 1, 3)))],
        actions=[f"{name}:a{index}" for index in range(chance.choice((1, 1, 2)))],
        fence=guard.fence if guard else 0,
        padding="x" * chance.randrange(_PADDING),
    )
    return Commit(
        key=key,
        expect=FenceOnly() if guard else Exact(version - 1),
        state=msgspec.json.encode(content),
        state_type="torture.Content",
        guard=guard,
        intents=[_intent(chance, intent_id, key) for intent_id in content.intents],
        actions=[_action(action_id, content.fence) for action_id in content.actions],
        reply=name.encode(),
        release=release,
    )


def failure(name: str) -> Action:
    """An action whose failure is final."""
    return _action(name, 0)


def _intent(chance: random.Random, intent_id: str, key: str) -> NewIntent:
    return NewIntent(
        intent_id=intent_id,
        priority=chance.randint(1, 5),
        max_attempts=4,
        payload=intent_id.encode(),
        correlation_id=key,
        order_key=chance.choice(("", key)),
    )


def _action(action_id: str, fence: int) -> ActionRecord:
    return ActionRecord(
        scope=_SCOPE,
        action_id=action_id,
        content_hash=action_id.encode(),
        action_type=1,
        target="torture",
        correlation_id=action_id,
        issued_us=0,
        fence=fence,
    )
