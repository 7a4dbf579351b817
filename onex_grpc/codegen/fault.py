"""A mistake in a user's proto, as protoc prints it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onex_grpc.codegen.schema import Place


@dataclass(frozen=True, slots=True)
class Fault:
    """A mistake in a user's proto.

    Attributes:
        place: where the mistake stands.
        what: what is wrong, naming the service, rpc or field.
        remedy: what to write instead.
    """

    place: Place
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}; {self.remedy}"
