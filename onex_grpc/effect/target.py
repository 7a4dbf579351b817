"""The door to one resource of the outside world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from onex.v1 import common_pb2
    from onex_grpc.effect.operation import EffectRequest, Progress, Repeat


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the outside world answered; `replayed` where the key was known and nothing was done."""

    result: common_pb2.Data
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """An operation that the target allows, ready to be performed, repeatedly if need be.

    Attributes:
        writes: whether it changes anything.
        repeat: what may be done after a failure that may pass.
        perform: does it once; marks the progress before anything leaves.
    """

    writes: bool
    repeat: Repeat
    perform: Callable[[Progress], Awaitable[Outcome]]


class Target(Protocol):
    """One resource of the outside world, opened from its settings."""

    @property
    def kind(self) -> str:
        """The kind of its settings, e.g. `sqlite`."""
        ...

    @property
    def keeps_outcomes(self) -> bool:
        """Whether it records keyed outcomes itself; otherwise the node's store does."""
        ...

    async def open(self) -> None:
        """Makes it ready; raises ConfigurationError for settings that cannot be used."""
        ...

    def plan(self, request: EffectRequest) -> Plan:
        """Decides everything that can be decided before anything is done.

        Raises:
            OperationRefusedError: for an operation of another kind, or one that is not allowed.
            ContractValidationError: for one that cannot be carried out as it stands.
        """
        ...

    async def close(self) -> None:
        """Finishes what was begun and lets go of the resource."""
        ...
