"""Finds the Anys in a message, along the fields whose types can hold one."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from google._upb._message import Descriptor as UpbDescriptor
    from google._upb._message import FieldDescriptor as UpbFieldDescriptor
    from google.protobuf import descriptor as pure
    from google.protobuf.any_pb2 import Any
    from google.protobuf.message import Message

    Descriptor: TypeAlias = pure.Descriptor | UpbDescriptor
    FieldDescriptor: TypeAlias = pure.FieldDescriptor | UpbFieldDescriptor

_ANY: Final = "google.protobuf.Any"


def anys_in(message: Message) -> list[Any]:
    """Return the Anys of a message, at any depth, without those inside their contents."""
    found: list[Any] = []
    finder = _finder_of(message.DESCRIPTOR)
    if finder is not None:
        finder.find(message, found)
    return found


class _Finder:
    """Finds the Anys in messages of one type, by the fields that can hold one."""

    __slots__ = ("_repeated", "_singular")

    def __init__(self) -> None:
        self._singular: list[tuple[str, _Finder]] = []
        self._repeated: list[tuple[str, bool, _Finder]] = []

    def add(self, field: FieldDescriptor, finder: _Finder) -> None:
        """Looks into a field, too."""
        if field.is_repeated:
            self._repeated.append((field.name, _is_map(field), finder))
        else:
            self._singular.append((field.name, finder))

    def find(self, message: Message, found: list[Any]) -> None:
        """Adds the Anys of a message."""
        for name, finder in self._singular:
            if message.HasField(name):
                finder.find(getattr(message, name), found)
        for name, is_map, finder in self._repeated:
            values = getattr(message, name)
            for each in _values(values) if is_map else values:
                finder.find(each, found)


class _AnyFinder(_Finder):
    """Finds that a message is an Any."""

    __slots__ = ()

    def find(self, message: Message, found: list[Any]) -> None:
        """Adds the message itself."""
        found.append(cast("Any", message))


class _ExtendableFinder(_Finder):
    """Finds Anys in extensions, too."""

    __slots__ = ()

    def find(self, message: Message, found: list[Any]) -> None:
        """Adds the Anys of a message and of its extensions."""
        super().find(message, found)
        for field in message.Extensions:
            if field.message_type is not None:
                value = message.Extensions[field]
                for each in value if field.is_repeated else (value,):
                    found.extend(anys_in(each))


_finders: Final[dict[Descriptor, _Finder | None]] = {}


def _finder_of(descriptor: Descriptor) -> _Finder | None:
    """Return the finder of a type, made once; None for a type that can hold no Any."""
    try:
        return _finders[descriptor]
    except KeyError:
        _make_finders(descriptor)
        return _finders[descriptor]


def _make_finders(root: Descriptor) -> None:
    """Make the finders of a type and of all types in it, which may hold one another."""
    reached = _reached(root)
    made = {each: _new_finder(each) for each in _holding(reached)}
    for descriptor, finder in made.items():
        for field in descriptor.fields:
            kind = _value_type(field)
            if kind in made:
                finder.add(field, made[kind])
    _finders.update((each, made.get(each)) for each in reached)


def _new_finder(descriptor: Descriptor) -> _Finder:
    if descriptor.full_name == _ANY:
        return _AnyFinder()
    return _ExtendableFinder() if descriptor.is_extendable else _Finder()


def _reached(root: Descriptor) -> Collection[Descriptor]:
    """Return a type and all types of messages in it, at any depth."""
    seen, waiting = {root}, [root]
    while waiting:
        inner = set(_inner_types(waiting.pop())) - seen
        seen |= inner
        waiting.extend(inner)
    return seen


def _holding(reached: Collection[Descriptor]) -> Collection[Descriptor]:
    """Return those of the types that can hold an Any."""
    outer: defaultdict[Descriptor, list[Descriptor]] = defaultdict(list)
    for each in reached:
        for inner in _inner_types(each):
            outer[inner].append(each)
    # An extension that holds one may be registered at any time.
    waiting = [each for each in reached if each.full_name == _ANY or each.is_extendable]
    holding = set(waiting)
    while waiting:
        further = set(outer[waiting.pop()]) - holding
        holding |= further
        waiting.extend(further)
    return holding


def _inner_types(descriptor: Descriptor) -> Iterable[Descriptor]:
    return (kind for field in descriptor.fields if (kind := _value_type(field)) is not None)


def _value_type(field: FieldDescriptor) -> Descriptor | None:
    """Return the type of a field's messages; of a map's, that of its values."""
    kind = field.message_type
    if kind is not None and _is_map(field):
        return kind.fields_by_name["value"].message_type
    return kind


def _is_map(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and kind.GetOptions().map_entry


def _values(entries: object) -> Iterable[Message]:
    try:
        return list(cast("dict[object, Message]", entries).values())
    except UnicodeDecodeError:
        # proto2 lets a key be no UTF-8; what cannot be read stays as received.
        return ()
