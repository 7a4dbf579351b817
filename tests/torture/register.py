"""The models: a register in the store that issues its leases, and one in the store of a callee,
which learns of leases by the writes under them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec


class Kind(StrEnum):
    """What was asked."""

    ACQUIRE = "acquire"
    RENEW = "renew"
    RELEASE = "release"
    WRITE = "write"
    READ = "read"
    LOOK = "look"
    """Which fence is the highest."""


class Result(StrEnum):
    """What was answered."""

    OK = "ok"
    HELD = "held"
    """Another one holds the lease."""
    STALE = "stale"
    """The fence is older than the highest."""
    EXPIRED = "expired"
    """The fence is the highest, its lease has ended."""
    MISMATCH = "mismatch"
    """The register has another version than the write expects."""
    INVALID = "invalid"
    """There is no such lease: impossible for a client that only sends what it was given."""
    UNKNOWN = "unknown"


ANY_VERSION: Final = -1


class Call(msgspec.Struct, frozen=True, array_like=True):
    """One operation with its answer.

    Attributes:
        fence: the one sent, or the one granted or seen.
        version: the register's, as answered; ANY_VERSION where the answer does not say.
        value: written or read.
        expected: the version that a write expects; ANY_VERSION where it goes by its fence alone.
    """

    kind: Kind
    result: Result
    fence: int = 0
    version: int = ANY_VERSION
    value: str = ""
    expected: int = ANY_VERSION


class Register(msgspec.Struct, frozen=True):
    """The state of one workflow.

    Attributes:
        issues: whether its store issues its leases; that of a callee does not, and knows no expiry.
        fence: the highest that was granted and is known; in a callee's, that has written.
        hidden: whether one above it was granted, in an answer that got lost.
        ended: whether the highest lease was released; that it ran out cannot be seen from here.
    """

    issues: bool = True
    fence: int = 0
    hidden: bool = False
    ended: bool = False
    version: int = 0
    value: str = ""

    def owned_by(self, fence: int) -> bool:
        """Whether no later lease than this one was granted."""
        return fence == self.fence and not self.hidden


def step(now: Register, call: Call) -> Register | None:
    """The register after a call; None where it cannot have answered so."""
    match call.kind:
        case Kind.ACQUIRE:
            return _acquire(now, call)
        case Kind.WRITE:
            return _write(now, call)
        case Kind.RENEW:
            return now if _may_hold(now, call) and _shows_version(now, call) else None
        case Kind.RELEASE:
            return _release(now, call)
        case Kind.READ:
            return now if call.version == now.version and call.value == now.value else None
        case Kind.LOOK:
            return _look(now, call)


def _acquire(now: Register, call: Call) -> Register | None:
    if call.result is Result.UNKNOWN:
        return msgspec.structs.replace(now, hidden=True, ended=False)
    if call.result is Result.HELD:
        return now if (now.fence or now.hidden) and not now.ended else None
    if call.result is not Result.OK or call.fence <= now.fence or not _shows_version(now, call):
        return None
    return msgspec.structs.replace(now, fence=call.fence, hidden=False, ended=False)


def _write(now: Register, call: Call) -> Register | None:
    if not now.issues:
        return _write_to_callee(now, call)
    match = call.expected in (ANY_VERSION, now.version)
    if call.result is Result.MISMATCH:
        return now if now.owned_by(call.fence) and not now.ended and not match else None
    if call.result in (Result.STALE, Result.EXPIRED):
        return now if _may_hold(now, call) else None
    if not now.owned_by(call.fence) or now.ended or not match:
        return None
    return _written(now, call)


def _write_to_callee(now: Register, call: Call) -> Register | None:
    if call.result is Result.STALE:
        return now if call.fence < now.fence else None
    match = call.expected in (ANY_VERSION, now.version)
    if call.fence < now.fence or match is (call.result is Result.MISMATCH):
        return None
    if call.result is Result.MISMATCH:
        return now
    return _written(msgspec.structs.replace(now, fence=call.fence), call)


def _written(now: Register, call: Call) -> Register | None:
    """The register after a write that its guard let through."""
    if call.result not in (Result.OK, Result.UNKNOWN):
        return None
    if call.result is Result.OK and call.version not in (ANY_VERSION, now.version + 1):
        return None
    return msgspec.structs.replace(now, version=now.version + 1, value=call.value)


def _release(now: Register, call: Call) -> Register | None:
    if call.result not in (Result.OK, Result.UNKNOWN):
        return None
    if not now.owned_by(call.fence):
        return now if now.hidden or call.fence < now.fence else None
    return msgspec.structs.replace(now, ended=True)


def _look(now: Register, call: Call) -> Register | None:
    if now.hidden:
        found = call.fence > now.fence
        return msgspec.structs.replace(now, fence=call.fence, hidden=False) if found else None
    return now if call.fence == now.fence else None


def _may_hold(now: Register, call: Call) -> bool:
    """Whether the answer agrees with who holds the lease; a lease may run out at any time."""
    if call.result is Result.STALE:
        return call.fence < now.fence or now.hidden
    if call.result is Result.EXPIRED:
        return now.owned_by(call.fence)
    return call.result is Result.OK and now.owned_by(call.fence) and not now.ended


def _shows_version(now: Register, call: Call) -> bool:
    return call.result is not Result.OK or call.version in (ANY_VERSION, now.version)
