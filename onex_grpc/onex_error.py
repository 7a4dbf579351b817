"""The root of the mesh's errors, made so that each of them can be written, pickled and copied."""

from __future__ import annotations

import re
from collections.abc import Sized
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, ClassVar, Final

from onex_grpc import carriable
from onex_grpc.carriable import Carried

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MOST_CAUSES: Final = 16
"""Causes that an error keeps."""
DEEPEST: Final = 8
"""Levels of causes that are written, pickled and copied."""
MOST_ERRORS: Final = 64
"""Causes of all levels that are written, pickled and copied."""
MOST_VIOLATIONS: Final = 1000
_OTHERS: Final = re.compile(r"and (\d+) more; mend these first")
_NOTHING: Final = ()
_UNSAID: Final = ""
_KEPT: Final = "_kept_status"


class Status(IntEnum):
    """The gRPC status codes, free of any import of grpc (google.rpc.Code)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class Violation:
    """One fault of a message: the path of the field and what is wrong with it, with the remedy."""

    field: str
    description: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "field", carriable.text(self.field, 256))
        object.__setattr__(self, "description", carriable.text(self.description, 1024))


def left_out(count: int) -> Violation:
    """Return the violation that stands for so many others."""
    return Violation("", f"and {count} more; mend these first")


def stands_for(description: str) -> int:
    """Return how many violations the one with this description stands for."""
    others = _OTHERS.fullmatch(description)
    return int(others[1]) if others else 1


def faults(given: object) -> tuple[Violation, ...]:
    """Return violations as an error keeps them; the last one says how many more there were."""
    found = carriable.some(given, MOST_VIOLATIONS + 1)
    if len(found) > MOST_VIOLATIONS:
        count = len(given) if isinstance(given, Sized) else len(found)
        found[MOST_VIOLATIONS - 1 :] = [left_out(count - MOST_VIOLATIONS + 1)]
    return tuple(v if isinstance(v, Violation) else Violation("", carriable.text(v)) for v in found)


def _causes(given: object) -> tuple[OnexError, ...]:
    found = [given] if isinstance(given, OnexError) else carriable.some(given, MOST_ERRORS)
    return tuple(cause for cause in found if isinstance(cause, OnexError))[:MOST_CAUSES]


def _unsaid(error: object) -> str:
    """Return what an error says whose class does not call the `__init__` of OnexError."""
    return str(error) if isinstance(error, BaseException) and error.args else type(error).__name__


class OnexError(Exception):
    """Root of all errors of the mesh; on its own, a failure that the caller cannot mend.

    Every error can be written, pickled and copied, whatever it was made from: values of other types
    become text, what UTF-8 cannot hold is escaped, and what is too long is cut, also when an
    attribute is assigned later. The message keeps 8 KiB; the context 32 entries, keys of 128 bytes
    and values of 1 KiB; 16 causes and 1000 violations are kept. What is written, pickled and copied
    has 8 levels of causes, 64 in all.

    A subclass may take any arguments. Made again from what was written, it has these attributes but
    none of its own; a property that reads the context serves both sides.

    Attributes:
        message: what failed and how to mend it, for people.
        reason: the stable name for machines, sent as ErrorInfo.reason.
        status: the gRPC status with which the error leaves a node.
        context: the facts behind the message; never secrets.
        correlation_id: that of the call which failed; filled in by the call's wrapper.
        node: where it arose, as `kind/name`; filled in by the call's wrapper.
        causes: the failures that led to this one, nearest first.
        retry_after: seconds after which a repeat may succeed, sent as RetryInfo.
        violations: all faults of an invalid message, sent as BadRequest.
    """

    reason: ClassVar[str] = "INTERNAL"
    default_status: ClassVar[Status] = Status.INTERNAL

    message = Carried[str, str](carriable.text, _unsaid)
    context = Carried["Mapping[str, str] | None", dict[str, str]](carriable.facts)
    correlation_id = Carried[str, str](carriable.name)
    node = Carried[str, str](carriable.name)
    causes = Carried["Sequence[OnexError]", "tuple[OnexError, ...]"](_causes)
    retry_after = Carried["float | None", "float | None"](carriable.seconds)
    violations = Carried["Sequence[Violation]", tuple[Violation, ...]](faults)

    def __init__(
        self,
        message: str,
        *,
        context: Mapping[str, str] | None = None,
        causes: Sequence[OnexError] = _NOTHING,
        retry_after: float | None = None,
        violations: Sequence[Violation] = _NOTHING,
        correlation_id: str = _UNSAID,
        node: str = _UNSAID,
    ) -> None:
        said = carriable.text(message)
        super().__init__(said)
        self.message = said
        # Most errors have little of this, and what is not set costs nothing.
        if context is not None:
            self.context = context
        if causes is not _NOTHING:
            self.causes = causes
        if retry_after is not None:
            self.retry_after = retry_after
        if violations is not _NOTHING:
            self.violations = violations
        if correlation_id is not _UNSAID:
            self.correlation_id = correlation_id
        if node is not _UNSAID:
            self.node = node

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "status" in vars(cls):
            cls.status = property(partial(_own_status, vars(cls)["status"]))  # type: ignore[assignment,method-assign]

    @property
    def status(self) -> Status:
        """Return the gRPC status with which the error leaves a node."""
        return _own_status(self.default_status, self)

    def __reduce__(self) -> tuple[object, ...]:
        # Not by calling the class: a user's own may take other arguments than a message.
        state = {**vars(self), "causes": _written_causes(self)}
        return revive, (type(self), self.args), state

    def __setstate__(self, state: dict[str, object] | None) -> None:
        vars(self).update(state or {})


def revive(cls: type[OnexError], args: tuple[object, ...]) -> OnexError:
    """Make an error without calling its class, which may take any arguments."""
    error = cls.__new__(cls)
    BaseException.__init__(error, *args)
    return error


def keep_status(error: OnexError, status: Status) -> None:
    """Give an error the status that it had where it was raised, whatever its class says."""
    vars(error)[_KEPT] = status


def kept_status(error: OnexError) -> Status | None:
    """Return the status that was kept; None where none was."""
    kept = vars(error).get(_KEPT)
    return kept if isinstance(kept, Status) else None


def _own_status(own: Any, error: OnexError) -> Status:
    """Return the status that a class gives as a property or a value; INTERNAL where it is none.

    OK is none: a call that ends with it has not failed.
    """
    if (kept := kept_status(error)) is not None:
        return kept
    try:
        value = own.__get__(error, type(error)) if hasattr(own, "__get__") else own
        return Status(value) or Status.INTERNAL
    except Exception:
        return Status.INTERNAL


def carried_reason(reason: object) -> str:
    """Return a reason as it is carried; empty for what is none."""
    return _reason(reason) if isinstance(reason, str) else ""


@lru_cache(1024)
def _reason(reason: str) -> str:
    return "" if reason.isspace() else carriable.name(reason)


def causes_of(error: OnexError) -> tuple[OnexError, ...]:
    """Return the causes of an error; the one it was raised from where it names none."""
    try:
        causes = _causes(error.causes)
    except Exception:
        # A user's own property, which fails.
        causes = ()
    if causes or not isinstance(error.__cause__, OnexError):
        return causes
    return (error.__cause__,)


def _written_causes(error: OnexError) -> tuple[OnexError, ...]:
    """Return the causes as they are if they are few, else copies with fewer causes of their own."""
    level, count = list(causes_of(error)), 0
    for _ in range(DEEPEST):
        count += len(level)
        if not level or count > MOST_ERRORS:
            break
        level = [cause for each in level for cause in causes_of(each)]
    if not level:
        return causes_of(error)
    room = iter(range(MOST_ERRORS))
    return tuple(_pruned(cause, DEEPEST - 1, room) for cause in few_causes(error, DEEPEST, room))


def _pruned(error: OnexError, levels: int, room: Iterator[int]) -> OnexError:
    kept = revive(type(error), error.args)
    few = [_pruned(cause, levels - 1, room) for cause in few_causes(error, levels, room)]
    vars(kept).update(vars(error), causes=tuple(few))
    return kept


def few_causes(error: OnexError, levels: int, room: Iterator[int]) -> Sequence[OnexError]:
    """Return the causes of an error that are written, at so many levels above the deepest.

    Room is taken for all of them at once, so that the first does not use it up.
    """
    few = zip(causes_of(error) if levels else (), room, strict=False)
    return [cause for cause, _ in few]
