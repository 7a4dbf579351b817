"""The check of every inbound message: all faults at once, with their field paths.

The rules of a type are put together once: those of its table, plus what its descriptor alone tells
(known enum values, well-formed well-known types, the rules of the messages inside it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from onex_grpc.contract.rule import Found, Rule, Unbuilt, entry
from onex_grpc.contract.rules import table
from onex_grpc.errors import ContractValidationError, UnimplementedError, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google._upb._message import Descriptor as UpbDescriptor
    from google._upb._message import FieldDescriptor as UpbFieldDescriptor
    from google.protobuf import descriptor as pure
    from google.protobuf.message import Message

    Descriptor = pure.Descriptor | UpbDescriptor
    FieldDescriptor = pure.FieldDescriptor | UpbFieldDescriptor

_PACKAGE: Final = "onex.v1"
Rules: TypeAlias = list[Rule]
# Each list is complete before it stands here: another thread may be checking.
_compiled: Final[dict[str, Rules]] = {}


def check(message: Message) -> None:
    """Checks a message against the rules of its contract and lower-cases its UUIDs in place.

    Raises:
        UnimplementedError: for a value that the contract foresees and this version does not build.
        ContractValidationError: with every other fault at once.
    """
    descriptor = message.DESCRIPTOR
    rules = _compiled.get(descriptor.full_name)
    found: Found = []
    for rule in _compile(descriptor) if rules is None else rules:
        rule(message, found)
    if found:
        raise _error(descriptor, found)


def _error(descriptor: Descriptor, found: Found) -> UnimplementedError | ContractValidationError:
    unbuilt = [f for f in found if isinstance(f, Unbuilt)]
    if unbuilt:
        text = "; ".join(f"{u.field}: {u.description}" for u in unbuilt)
        return UnimplementedError(text, context={"field": unbuilt[0].field})
    # A fault of the message as a whole is named after it: an empty path tells nobody where to look.
    return ContractValidationError.of(
        *(f if f.field else Violation(descriptor.name, f.description) for f in found)
    )


def _compile(descriptor: Descriptor) -> Rules:
    types = [each for each in _reachable(descriptor, {}).values() if _has_rules(each)]
    # A message may contain its own type, so each list is there before it is filled.
    lists: dict[str, Rules] = {each.full_name: [] for each in types}
    for each in types:
        lists[each.full_name] += _rules(each, lists)
    _compiled.update(lists)
    return _compiled.setdefault(descriptor.full_name, [])


def _rules(descriptor: Descriptor, lists: Mapping[str, Rules]) -> Iterator[Rule]:
    alternatives: dict[str, dict[str, Rules]] = {}
    for field in descriptor.fields:
        inner = None if field.message_type is None else lists.get(field.message_type.full_name)
        if inner is None or field.is_repeated or field.containing_oneof is None:
            rule = _field_rule(field, lists)
            if rule is not None:
                yield rule
        else:
            alternatives.setdefault(field.containing_oneof.name, {})[field.name] = inner
    for group, members in alternatives.items():
        yield _inside_one_of(group, members)
    # The table's come last: those of a step look at what was found inside it.
    yield from table().get(descriptor.full_name, ())


def _field_rule(field: FieldDescriptor, lists: Mapping[str, Rules]) -> Rule | None:
    inner: Descriptor | None = field.message_type
    if inner is not None and inner.GetOptions().map_entry:
        value = inner.fields_by_name["value"]
        if value.enum_type is not None and _is_ours(inner):
            return _known_map_enum(field.name, frozenset(value.enum_type.values_by_number))
        if value.message_type is not None and value.message_type.full_name in lists:
            return _inside_map(field.name, lists[value.message_type.full_name])
        return None
    if inner is not None and inner.full_name in lists:
        nested = _inside_list if field.is_repeated else _inside
        return nested(field.name, lists[inner.full_name])
    if field.enum_type is not None and _is_ours(field.containing_type):
        return _known_enum(field.name, frozenset(field.enum_type.values_by_number))
    return None


def _is_ours(descriptor: Descriptor | None) -> bool:
    return descriptor is not None and bool(descriptor.file.package == _PACKAGE)


def _reachable(descriptor: Descriptor, seen: dict[str, Descriptor]) -> dict[str, Descriptor]:
    if descriptor.full_name not in seen:
        seen[descriptor.full_name] = descriptor
        for field in descriptor.fields:
            if field.message_type is not None:
                _reachable(field.message_type, seen)
    return seen


def _has_rules(descriptor: Descriptor) -> bool:
    return any(
        inner.full_name in table()
        or (_is_ours(inner) and any(field.enum_type is not None for field in inner.fields))
        for inner in _reachable(descriptor, {}).values()
    )


def _inside(field: str, rules: Rules) -> Rule:
    def inside(message: Message, found: Found) -> None:
        if message.HasField(field):
            value = getattr(message, field)
            inner: Found = []
            for rule in rules:
                rule(value, inner)
            if inner:
                _prefix(field, inner, found)

    return inside


def _inside_one_of(group: str, members: Mapping[str, Rules]) -> Rule:
    def inside(message: Message, found: Found) -> None:
        field = message.WhichOneof(group)
        if field is not None and field in members:
            value = getattr(message, field)
            inner: Found = []
            for rule in members[field]:
                rule(value, inner)
            if inner:
                _prefix(field, inner, found)

    return inside


def _inside_list(field: str, rules: Rules) -> Rule:
    def inside(message: Message, found: Found) -> None:
        inner: Found = []
        for index, item in enumerate(getattr(message, field)):
            for rule in rules:
                rule(item, inner)
            if inner:
                _prefix(f"{field}[{index}]", inner, found)
                inner = []

    return inside


def _inside_map(field: str, rules: Rules) -> Rule:
    def inside(message: Message, found: Found) -> None:
        inner: Found = []
        items = getattr(message, field)
        for key in items:
            item = items[key]
            for rule in rules:
                rule(item, inner)
            if inner:
                _prefix(entry(field, str(key)), inner, found)
                inner = []

    return inside


def _prefix(path: str, inner: Found, found: Found) -> None:
    found.extend(
        type(fault)(f"{path}.{fault.field}" if fault.field else path, fault.description)
        for fault in inner
    )


def _known_enum(field: str, known: frozenset[int]) -> Rule:
    def rule(message: Message, found: Found) -> None:
        value = getattr(message, field)
        if value not in known:
            found.append(Violation(field, f"{value} is not a value of this enum"))

    return rule


def _known_map_enum(field: str, known: frozenset[int]) -> Rule:
    def rule(message: Message, found: Found) -> None:
        items = getattr(message, field)
        for key in items:
            if items[key] not in known:
                found.append(
                    Violation(entry(field, str(key)), f"{items[key]} is not a value of this enum")
                )

    return rule
