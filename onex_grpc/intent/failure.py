"""Which failures may pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.errors import Status

if TYPE_CHECKING:
    from onex_grpc.errors import OnexError

_PASSING: Final = frozenset({Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.ABORTED})


def may_pass(error: OnexError) -> bool:
    """Whether the same operation may succeed later without anybody mending anything."""
    if error.status is Status.RESOURCE_EXHAUSTED:
        # A quota says when it is refilled; a message that is too large never fits.
        return error.retry_after is not None
    return error.status in _PASSING
