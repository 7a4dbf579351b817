"""No half commit: what a store holds agrees with itself."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.torture.contents import Contents, Version


def halves(found: Contents) -> Iterator[str]:
    """What was written without all that belongs to it, or twice."""
    if found.orphans:
        yield f"{found.orphans} versions in the history have no state"
    if found.states.keys() != found.history.keys():
        yield f"states and histories differ: {found.states.keys() ^ found.history.keys()}"
    for key, versions in found.history.items():
        if [one.version for one in versions] != list(range(1, found.states.get(key, 0) + 1)):
            yield f"{key}: state at {found.states.get(key)}, history has gaps or goes beyond it"
        for before, after in pairwise(versions):
            if after.fence < before.fence:
                yield f"{key}: version {after.version} was written under an older fence"
        for version in versions:
            yield from _half(found, key, version)
    yield from _without_state(found)
    yield from _other(found)


def _half(found: Contents, key: str, version: Version) -> Iterator[str]:
    content = version.content
    fences = {content.fence or version.fence, version.fence}
    if (content.key, content.version) != (key, version.version) or len(fences) > 1:
        yield f"{key}: version {version.version} holds {content.key}, version {content.version}"
    reply = f"{key}:{content.version}:{content.round}".encode()
    for action_id in content.actions:
        action = found.actions.get(action_id)
        if action is None:
            yield f"{key}: version {version.version} without its action {action_id}"
        elif (action.epoch, action.reply, action.error) != (version.version, reply, b""):
            yield f"{action_id} is recorded with another outcome"
    for intent_id in content.intents:
        if intent_id not in found.intents:
            yield f"{key}: version {version.version} without its intent {intent_id}"


def _without_state(found: Contents) -> Iterator[str]:
    contents = [one.content for versions in found.history.values() for one in versions]
    intents = {intent_id for content in contents for intent_id in content.intents}
    for intent_id in found.intents.keys() - intents:
        yield f"intent {intent_id} without the state that emitted it"
    actions = {action_id for content in contents for action_id in content.actions}
    succeeded = {action_id for action_id, one in found.actions.items() if not one.error}
    for action_id in succeeded - actions:
        yield f"action {action_id} without the state that it led to"


def _other(found: Contents) -> Iterator[str]:
    for sequence, event_id, payload in found.events:
        if payload.decode() != event_id:
            yield f"event {sequence} holds the payload of another"
    for key, reply in found.outcomes.items():
        if reply.decode() != key:
            yield f"outcome {key} holds the reply of another"
        if key not in found.actions:
            yield f"outcome {key} without the failure that was acknowledged before it was sent"
