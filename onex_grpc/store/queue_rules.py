"""How the queue of intents ranks, names its claims and ends what nobody reports on: the decisions,
free of any database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex.v1 import error_pb2
from onex_grpc.errors import AlreadyExistsError, OutcomeUnknownError
from onex_grpc.store.model import Cancellation, IntentState, KeptIntent

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from onex_grpc.store.model import NewIntent

_SHOWN: Final[Mapping[int, IntentState]] = {
    3: IntentState.IN_FLIGHT,
    5: IntentState.COMPLETED,
    6: IntentState.DEAD,
    7: IntentState.CANCELLED,
}
_MINUTE_US: Final = 60_000_000
# An intent ranks as if it had become available this much earlier: each priority is served before
# the next one, and yet none waits for ever.
_BONUS_US: Final = {1: 10 * _MINUTE_US, 2: 5 * _MINUTE_US, 3: 2 * _MINUTE_US, 4: _MINUTE_US, 5: 0}


LOOKED_AT: Final = 5_000
"""So many pending intents at most are looked at for the ages of those that wait longest."""
MOST_ROUTES_SHOWN: Final = 1000


def rank_us(priority: int, available_us: int) -> int:
    """Where an intent stands that is available from that time on; the lowest is served first."""
    return available_us - _BONUS_US.get(priority, _BONUS_US[3])


def looked_at_of_each(routes: int) -> int:
    """How many of each route are looked at, where something is pending on so many."""
    return max(1, LOOKED_AT // max(1, routes))


def wanted_routes(accepts: Collection[str]) -> list[str]:
    """The routes of who accepts these, in one order for all: also what anybody may take."""
    return sorted({"", *accepts})


def claim_token(sequence: int, nonce: str) -> str:
    """The token of a claim; the intent's sequence in it saves an index over tokens."""
    return f"{sequence}.{nonce}"


def parse_claim(token: str) -> tuple[int, str]:
    """The sequence and the nonce of a token; one that is not ours names no intent."""
    number, _, nonce = token.partition(".")
    if not (number.isascii() and number.isdigit() and len(number) < 19):
        return -1, ""
    return int(number), nonce


def ids_in_use(new: Sequence[NewIntent]) -> AlreadyExistsError:
    """The refusal of a commit one of whose intents has an id that is known."""
    ids = ", ".join(intent.intent_id for intent in new)
    return AlreadyExistsError(f"intent_id: one of {ids} is in use; ids are unique for all time")


def vanished(attempts: int) -> bytes:
    """The last error of an intent whose last worker did not report, serialised."""
    return error_pb2.ErrorDetail(
        reason=OutcomeUnknownError.reason,
        message=f"the worker of attempt {attempts}, the last one, did not report within the "
        "visibility timeout; look at the target before this is redriven",
        status_code=OutcomeUnknownError.default_status,
    ).SerializeToString()


def shown(number: int) -> IntentState:
    """What the queue shows of a row's state; the numbers are those of the schema's comment."""
    return _SHOWN.get(number, IntentState.PENDING)


def cancellation(found: Sequence[tuple[str, IntentState]]) -> Cancellation:
    """What becomes of intents that are to be cancelled, by id and state before."""
    ends = (IntentState.PENDING, IntentState.CANCELLED)
    kept = tuple(KeptIntent(name, state) for name, state in found if state not in ends)
    return Cancellation(len(found) - len(kept), kept)
