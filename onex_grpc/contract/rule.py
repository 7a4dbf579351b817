"""Rules of single fields: closures that append what is wrong and cost little where nothing is.

A rule gets the message and the list of faults; field paths in it are relative to that message.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from google.protobuf.message import Message

from onex_grpc.errors import Violation

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration

Found: TypeAlias = list[Violation]
Rule: TypeAlias = Callable[[Message, Found], None]

LOWER_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ANY_UUID: Final = re.compile(LOWER_UUID.pattern, re.IGNORECASE | re.ASCII)


class Unbuilt(Violation):
    """A value that the contract foresees and this version does not build: UNIMPLEMENTED."""


def uuid_text(text: str) -> str | None:
    """The lower-cased form of a UUID in the text form of RFC 9562; None for anything else."""
    if LOWER_UUID.fullmatch(text):
        return text
    return text.lower() if _ANY_UUID.fullmatch(text) else None


def optional_uuid(field: str) -> Rule:
    """The field is empty or a UUID, which is lower-cased in place."""
    lower = LOWER_UUID.fullmatch

    def rule(message: Message, found: Found) -> None:
        text = getattr(message, field)
        if not text or lower(text):
            return
        canonical = uuid_text(text)
        if canonical is None:
            found.append(
                Violation(field, f"{_shown(text)} is not a UUID; write it as 8-4-4-4-12 hex digits")
            )
        else:
            setattr(message, field, canonical)

    return rule


def uuid(field: str) -> Rule:
    """The field is a UUID, which is lower-cased in place."""
    check = optional_uuid(field)

    def rule(message: Message, found: Found) -> None:
        if getattr(message, field):
            check(message, found)
        else:
            found.append(Violation(field, "is empty; give a UUID"))

    return rule


def each_uuid(field: str) -> Rule:
    """Each element of a list is a UUID, which is lower-cased in place."""

    def rule(message: Message, found: Found) -> None:
        values = getattr(message, field)
        for index, value in enumerate(values):
            canonical = uuid_text(value)
            if canonical is None:
                found.append(Violation(f"{field}[{index}]", f"{_shown(value)} is not a UUID"))
            else:
                values[index] = canonical

    return rule


NUL: Final = "\0"
NUL_FAULT: Final = "has a NUL in it (U+0000), which not every store keeps; leave it out"


def text(field: str, longest: int, shortest: int = 1) -> Rule:
    """The length of the field's text, in characters, lies within these bounds; none is NUL."""

    def rule(message: Message, found: Found) -> None:
        value: str = getattr(message, field)
        if not shortest <= (length := len(value)) <= longest:
            found.append(Violation(field, _length_fault(length, shortest, longest)))
        elif NUL in value:
            found.append(Violation(field, NUL_FAULT))

    return rule


def matching(field: str, pattern: str) -> Rule:
    """The whole text of the field matches the pattern."""
    matches = re.compile(pattern).fullmatch

    def rule(message: Message, found: Found) -> None:
        value = getattr(message, field)
        if not matches(value):
            found.append(Violation(field, f"{_shown(value)} does not match {pattern}"))

    return rule


def optional_matching(field: str, pattern: str) -> Rule:
    """The field is empty or matches the pattern."""
    check = matching(field, pattern)

    def rule(message: Message, found: Found) -> None:
        if getattr(message, field):
            check(message, found)

    return rule


def each_matching(field: str, pattern: str) -> Rule:
    """Each element of a list of texts matches the pattern."""
    matches = re.compile(pattern).fullmatch

    def rule(message: Message, found: Found) -> None:
        for index, value in enumerate(getattr(message, field)):
            if not matches(value):
                found.append(
                    Violation(f"{field}[{index}]", f"{_shown(value)} does not match {pattern}")
                )

    return rule


def keys(field: str, longest: int) -> Rule:
    """The keys of a map are 1 to `longest` characters."""

    def rule(message: Message, found: Found) -> None:
        for key in getattr(message, field):
            if not 1 <= len(key) <= longest:
                found.append(Violation(entry(field, key), _length_fault(len(key), 1, longest)))

    return rule


def count(field: str, fewest: int, most: int) -> Rule:
    """A list or map has a number of entries within these bounds."""

    def rule(message: Message, found: Found) -> None:
        size = len(getattr(message, field))
        if not fewest <= size <= most:
            found.append(Violation(field, f"has {size} entries; {fewest} to {most} are allowed"))

    return rule


def between(field: str, low: float, high: float) -> Rule:
    """A number lies within these bounds, both included; NaN never does."""

    def rule(message: Message, found: Found) -> None:
        value = getattr(message, field)
        if not low <= value <= high:
            found.append(
                Violation(
                    field, f"is {_number(value)}; {_number(low)} to {_number(high)} is allowed"
                )
            )

    return rule


def optional_between(field: str, low: float, high: float) -> Rule:
    """An `optional` number is absent or lies within these bounds."""
    check = between(field, low, high)

    def rule(message: Message, found: Found) -> None:
        if message.HasField(field):
            check(message, found)

    return rule


def present(field: str) -> Rule:
    """A message field is set."""

    def rule(message: Message, found: Found) -> None:
        if not message.HasField(field):
            found.append(Violation(field, "is missing"))

    return rule


def absent(field: str, why: str) -> Rule:
    """A message field is not set."""

    def rule(message: Message, found: Found) -> None:
        if message.HasField(field):
            found.append(Violation(field, f"must not be set: {why}"))

    return rule


def one_of(group: str) -> Rule:
    """A oneof has a member; the fault stands at the message, since no member has a value."""

    def rule(message: Message, found: Found) -> None:
        if message.WhichOneof(group) is None:
            members = message.DESCRIPTOR.oneofs_by_name[group].fields
            found.append(
                Violation("", f"has no {group}; set one of {', '.join(m.name for m in members)}")
            )

    return rule


def positive(field: str) -> Rule:
    """A Duration is absent or longer than nothing."""

    def rule(message: Message, found: Found) -> None:
        if message.HasField(field):
            duration: Duration = getattr(message, field)
            if (
                duration.seconds < 0
                or duration.nanos < 0
                or not (duration.seconds or duration.nanos)
            ):
                found.append(Violation(field, "must be longer than 0 s"))

    return rule


def chosen(field: str) -> Rule:
    """An enum is not left UNSPECIFIED."""

    def rule(message: Message, found: Found) -> None:
        if not getattr(message, field):
            names = ", ".join(list(_enum_names(message, field).values())[1:])
            found.append(Violation(field, f"is unspecified; give one of {names}"))

    return rule


def among(field: str, allowed: Sequence[int]) -> Rule:
    """An enum has one of these values."""
    values = frozenset(allowed)

    def rule(message: Message, found: Found) -> None:
        value = getattr(message, field)
        if value not in values:
            names = _enum_names(message, field)
            # A number without a name is reported once, by the rule that every enum has.
            if value in names:
                fit = ", ".join(names[v] for v in allowed)
                found.append(Violation(field, f"is {names[value]}; allowed here: {fit}"))

    return rule


def unbuilt(field: str, reasons: Mapping[int, str]) -> Rule:
    """Some members of an enum answer UNIMPLEMENTED, with the reason given here."""

    def rule(message: Message, found: Found) -> None:
        reason = reasons.get(getattr(message, field))
        if reason is not None:
            found.append(Unbuilt(field, reason))

    return rule


def entry(field: str, key: str) -> str:
    """The path of a map's entry."""
    return f"{field}[{_shown(key)}]"


def _enum_names(message: Message, field: str) -> Mapping[int, str]:
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    return {} if enum is None else {value.number: value.name for value in enum.values}


def _shown(value: str) -> str:
    # A fault quotes what was sent, but an oversized value must not come back in full.
    return repr(value if len(value) <= 60 else value[:57] + "...")


def _length_fault(length: int, shortest: int, longest: int) -> str:
    if not length:
        return "is empty"
    return f"has {length} characters; {shortest} to {longest} are allowed"


def _number(value: float) -> str:
    # `g` alone would round 2^63-1.
    return str(value) if isinstance(value, int) else f"{value:g}"
