"""Nothing lost: all that was ever acknowledged is stored, over all deaths of the writer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.torture.acknowledged import (
    Claimed,
    Done,
    Failed,
    Leased,
    Published,
    Recorded,
    Released,
    Saved,
)
from tests.torture.contents import COMPLETED, DEAD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.torture.acknowledged import Fact
    from tests.torture.contents import Contents


@dataclass(slots=True)
class Ledger:
    """What was acknowledged since the store was made.

    Attributes:
        saved: checksums by key and version.
        fences: the highest granted of each workflow.
        released: the highest whose end was acknowledged.
        events: sequences by id.
        claimed: intents that were handed out.
        done: how intents ended.
        failures: actions that failed for good.
        outcomes: keys of effects.
        total: how many facts.
        wrong: facts that contradict earlier ones.
        compared: what was stored, and stored without being acknowledged, the last time.
    """

    saved: dict[tuple[str, int], int] = field(default_factory=dict)
    fences: dict[str, int] = field(default_factory=dict)
    released: dict[str, int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    claimed: set[str] = field(default_factory=set)
    done: dict[str, int] = field(default_factory=dict)
    failures: set[str] = field(default_factory=set)
    outcomes: set[str] = field(default_factory=set)
    total: int = 0
    wrong: list[str] = field(default_factory=list)
    compared: tuple[int, int] = (0, 0)

    def add(self, facts: Iterable[Fact]) -> None:
        """Adds what a writer noted."""
        for fact in facts:
            self.total += 1
            self._add(fact)

    def _add(self, fact: Fact) -> None:
        match fact:
            case Saved():
                if (fact.key, fact.version) in self.saved:
                    self.wrong.append(f"{fact.key}: version {fact.version} acknowledged twice")
                self.saved[fact.key, fact.version] = fact.content
            case Leased():
                if fact.fence <= self.fences.get(fact.workflow, 0):
                    self.wrong.append(f"{fact.workflow}: fence {fact.fence} went down")
                self.fences[fact.workflow] = fact.fence
            case Released():
                self.released[fact.workflow] = fact.fence
            case Published():
                self.events[fact.event_id] = fact.sequence
            case Claimed():
                if fact.intent_id in self.done:
                    self.wrong.append(f"{fact.intent_id} was handed out after its end")
                self.claimed.add(fact.intent_id)
            case Done():
                self.done[fact.intent_id] = DEAD if fact.dead else COMPLETED
            case Failed():
                self.failures.add(fact.action_id)
            case Recorded():
                self.outcomes.add(fact.key)

    def lost(self, found: Contents) -> Iterator[str]:
        """What was acknowledged and is not stored, or stored otherwise."""
        stored = {
            (key, one.version): one.checksum
            for key, versions in found.history.items()
            for one in versions
        }
        for (key, version), content in self.saved.items():
            if stored.get((key, version)) != content:
                yield f"{key}: version {version} was acknowledged"
        for workflow, fence in self.fences.items():
            if found.fences.get(workflow, (0, 0))[0] < fence:
                yield f"{workflow}: fence {fence} was granted, {found.fences.get(workflow)} stored"
        for workflow, fence in self.released.items():
            highest, expires_us = found.fences.get(workflow, (0, 0))
            if highest == fence and expires_us:
                yield f"{workflow}: the end of lease {fence} was acknowledged"
        sequences = {event_id: sequence for sequence, event_id, _ in found.events}
        for event_id, sequence in self.events.items():
            if sequences.get(event_id) != sequence:
                yield f"event {event_id} was acknowledged with sequence {sequence}"
        yield from self._lost_of_queue(found)
        for action_id in self.failures:
            if action_id not in found.actions or not found.actions[action_id].error:
                yield f"failure of {action_id} was acknowledged"
        for key in self.outcomes - found.outcomes.keys():
            yield f"outcome {key} was acknowledged"

    def _lost_of_queue(self, found: Contents) -> Iterator[str]:
        for intent_id in self.claimed - found.intents.keys():
            yield f"intent {intent_id} was handed out"
        for intent_id, state in self.done.items():
            if found.intents.get(intent_id, (0, 0))[0] != state:
                yield f"the end of intent {intent_id} was acknowledged"

    def compare(self, found: Contents) -> tuple[int, int]:
        """How many commits and events have been stored since the last time, and how many of them
        without having been acknowledged.
        """
        stored = sum(len(versions) for versions in found.history.values()) + len(found.events)
        unacknowledged = stored - len(self.saved) - len(self.events)
        before, self.compared = self.compared, (stored, unacknowledged)
        return stored - before[0], unacknowledged - before[1]
