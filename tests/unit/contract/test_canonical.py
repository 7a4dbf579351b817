"""One form for one content, whoever packed it, in which order, and in which process."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any, cast

import pytest
from depot.v1 import depot_pb2
from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    message_factory,
    struct_pb2,
    wrappers_pb2,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onex.v1 import common_pb2, operation_pb2
from onex_grpc.contract.canonical import canonical_bytes, canonical_digest, same_content
from onex_grpc.contract.data import pack, unpack_any
from onex_grpc.errors import ContractValidationError
from tests.identity.scattered import Content, any_of, label, raw_any

if TYPE_CHECKING:
    from google.protobuf.message import Message

scalars = st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=4)
objects = st.recursive(
    st.dictionaries(st.text(max_size=3), scalars, max_size=4),
    lambda inner: st.dictionaries(
        st.text(max_size=3), inner | st.lists(inner, max_size=3), max_size=4
    ),
    max_leaves=6,
)
contents: st.SearchStrategy[Content] = st.recursive(
    st.builds(Content, detail=objects, tags=st.dictionaries(st.text(max_size=3), objects)),
    lambda inner: st.builds(
        Content,
        detail=st.none() | objects | inner,
        notes=st.lists(objects | inner, max_size=2),
        tags=st.dictionaries(st.text(max_size=3), objects, max_size=3),
        sealed=st.none() | objects | inner,
        inner=st.none() | inner,
        named=st.dictionaries(st.text(max_size=3), inner, max_size=2),
    ),
    max_leaves=4,
)
MANY = Content(
    detail=Content(detail={f"key {n}": {"deep": n, "deeper": [n, {"x": n}]} for n in range(30)}),
    notes=[{"a": 1.0, "b": 2.0, "c": 3.0}, "text"],
    tags={f"tag {n}": {"one": 1.0, "two": 2.0} for n in range(10)},
    sealed=Content(sealed={"in": {"in": 1.0, "out": 2.0}}),
    named={f"name {n}": Content(detail={"a": 1.0, "b": 2.0}) for n in range(10)},
)


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - a test that fails is to fail again


@given(content=contents, seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_one_content_has_one_form(content: Content, seed: int) -> None:
    one, other = label(content, chance(seed)), label(content, chance(seed + 1))
    before = one.SerializeToString(deterministic=True)
    found = canonical_bytes(one)
    assert found == canonical_bytes(other)
    assert canonical_digest(one) == canonical_digest(other)
    # It is a form of the same message, and its own form; what was given is as it was.
    assert canonical_bytes(depot_pb2.Label.FromString(found)) == found
    assert one.SerializeToString(deterministic=True) == before


@given(one=contents, other=contents)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_two_contents_have_two_forms(one: Content, other: Content) -> None:
    same = same_content(label(one, chance(1)), label(other, chance(2)))
    assert same == (said(one) == said(other))


def said(content: Content) -> str:
    """All that a content says, in one order."""

    def fields(of: Content) -> object:
        return ["content", *(getattr(of, each.name) for each in dataclasses.fields(of))]

    return json.dumps(content, default=fields, sort_keys=True)


def test_the_bytes_as_packed_do_differ() -> None:
    forms = {label(MANY, chance(n)).SerializeToString(deterministic=True) for n in range(9)}
    assert len(forms) == 9
    assert len({canonical_bytes(label(MANY, chance(n))) for n in range(9)}) == 1


def test_every_process_makes_the_same_form() -> None:
    program = (
        "from tests.unit.contract.test_canonical import *\n"
        "import google.protobuf.json_format as j\n"
        "s = struct_pb2.Struct()\n"
        "s.update({k: {v: 1 for v in set('abcdefgh')} for k in set(map(str, range(40)))})\n"
        "a = any_pb2.Any()\n"
        "a.Pack(s)\n"
        "b = depot_pb2.Label()\n"
        "[b.tags[k].CopyFrom(a) for k in set('uvwxyz')]\n"
        "c = any_pb2.Any()\n"
        "c.Pack(b)\n"
        "print(canonical_digest(c).hex())\n"
    )
    found = set()
    for seed in ("0", "1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        run = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True, check=True, env=environment, text=True, timeout=50,
        )  # fmt: skip
        found.add(run.stdout)
    assert len(found) == 1


def struct(*names: str) -> struct_pb2.Struct:
    made = struct_pb2.Struct()
    made.update(dict.fromkeys(names, 1))
    return made


@pytest.mark.parametrize(
    "holder",
    [
        lambda a: a,
        lambda a: common_pb2.Data(message=a),
        lambda a: operation_pb2.EffectOperation(custom=a),
        lambda a: operation_pb2.EffectOperation(
            message=operation_pb2.MessagePublish(data=common_pb2.Data(message=a))
        ),
        lambda a: depot_pb2.DeliverRequest(label=depot_pb2.Label(notes=[a, a])),
        lambda a: any_of(a, chance(3)),
        lambda a: any_of(any_of(depot_pb2.Label(detail=a), chance(4)), chance(5)),
    ],
    ids=["itself", "Data", "custom", "event", "repeated", "Any of Any", "three deep"],
)
def test_wherever_it_stands(holder: object) -> None:
    assert callable(holder)
    message = struct(*map(str, range(20)))
    one, two = (holder(any_of(message, chance(seed))) for seed in (1, 2))
    assert canonical_bytes(one) == canonical_bytes(two)
    other = holder(any_of(struct("other"), chance(1)))
    assert canonical_bytes(one) != canonical_bytes(other)


def nested(message: Message, levels: int, seed: int) -> any_pb2.Any:
    made = any_of(message, chance(seed))
    for _ in range(levels):
        made = any_of(made, chance(seed))
    return made


@pytest.mark.parametrize("levels", [100, 500])
def test_however_deep(levels: int) -> None:
    one, two = (nested(struct("a", "b", "c", "d", "e"), levels, seed) for seed in (1, 2))
    assert one != two
    assert same_content(one, two)


def test_as_deep_as_protobuf_reads() -> None:
    def in_labels(seed: int) -> depot_pb2.Label:
        made = outermost = depot_pb2.Label()
        for _ in range(98):
            made = made.inner
        made.detail.CopyFrom(any_of(struct("a", "b", "c", "d", "e"), chance(seed)))
        return depot_pb2.Label.FromString(outermost.SerializeToString())

    assert same_content(in_labels(1), in_labels(2))


def test_what_nests_big_content_deep_costs_no_more_than_a_bound() -> None:
    message = wrappers_pb2.BytesValue(value=b"x" * 4_000_000)
    bomb = nested(message, 100, 1)
    # Its outer levels have their form, which is one more time the same.
    assert canonical_bytes(any_pb2.Any.FromString(canonical_bytes(bomb))) == canonical_bytes(bomb)


@pytest.mark.parametrize(
    "name", ["", "no.such.Type", "google.protobuf.Struct\0", "google.protobuf.NullValue", "ä ö"]
)
def test_of_unknown_types_stays_as_received(name: str) -> None:
    value = struct("a").SerializeToString()
    received = any_pb2.Any(type_url=f"x.example/{name}", value=value)
    message = depot_pb2.Label(detail=received)
    assert canonical_bytes(message) == message.SerializeToString(deterministic=True)
    assert depot_pb2.Label.FromString(canonical_bytes(message)).detail == received
    with pytest.raises(ContractValidationError, match="does not know"):
        unpack_any(received)


def test_of_damaged_content_stays_as_received() -> None:
    received = any_pb2.Any(type_url="x.example/google.protobuf.Struct", value=b"\x0a\x09cut")
    message = depot_pb2.Label(notes=[received, any_of(struct("a"), chance(1))])
    found = depot_pb2.Label.FromString(canonical_bytes(message))
    assert found.notes[0] == received
    assert found.notes[1].type_url == "type.googleapis.com/google.protobuf.Struct"


def test_encodings_of_the_same_content_are_one() -> None:
    """Fields in another order, a default that was written, a list unpacked, a number too long."""
    name = "google.protobuf.Duration"
    forms = [
        b"\x08\x05\x10\x07",
        b"\x10\x07\x08\x05",
        b"\x08\x85\x00\x10\x07",
        b"\x10\x01\x08\x05\x10\x07",
    ]
    assert len({canonical_bytes(raw_any(name, form, chance(1))) for form in forms}) == 1
    zero = {canonical_bytes(raw_any(name, form, chance(1))) for form in (b"", b"\x08\x00")}
    assert len(zero) == 1
    path = "google.protobuf.SourceCodeInfo.Location"
    lists = [b"\x0a\x02\x01\x02", b"\x08\x01\x08\x02"]
    assert len({canonical_bytes(raw_any(path, form, chance(1))) for form in lists}) == 1


def test_what_is_set_to_its_default_is_another_content() -> None:
    unset, none, empty = common_pb2.Data(), pack(None), depot_pb2.Label(detail=any_pb2.Any())
    assert not same_content(unset, none)
    assert not same_content(depot_pb2.Label(), empty)


def test_numbers_are_compared_by_their_bits() -> None:
    def number(value: float) -> common_pb2.Data:
        return pack(wrappers_pb2.DoubleValue(value=value))

    assert same_content(number(float("nan")), number(float("nan")))
    assert not same_content(number(0.0), number(-0.0))


def test_unknown_fields_stay_as_received() -> None:
    extra = duration_pb2.Duration.FromString(b"\x08\x05\x9a\x06\x01b\x92\x06\x01a")
    found = canonical_bytes(any_of(extra, chance(1)))
    assert found.endswith(b"\x9a\x06\x01b\x92\x06\x01a")


# What only proto2 has: extensions, groups, required fields, text that is no UTF-8.
OLD = descriptor_pb2.FileDescriptorProto(
    name="tests/old.proto",
    package="tests.old",
    syntax="proto2",
    dependency=["google/protobuf/any.proto"],
)
_old = OLD.message_type.add(name="Old")
_old.extension_range.add(start=100, end=200)
_old.field.add(name="text", number=1, type=9, label=1)
_old.field.add(name="needed", number=2, type=5, label=2)
_old.field.add(name="group", number=3, type=10, label=3, type_name=".tests.old.Old.Group")
_old.field.add(name="entries", number=5, type=11, label=3, type_name=".tests.old.Old.EntriesEntry")
_group = _old.nested_type.add(name="Group")
_group.field.add(name="detail", number=4, type=11, label=1, type_name=".google.protobuf.Any")
_entry = _old.nested_type.add(name="EntriesEntry")
_entry.options.map_entry = True
_entry.field.add(name="key", number=1, type=9, label=1)
_entry.field.add(name="value", number=2, type=11, label=1, type_name=".google.protobuf.Any")
for _name, _number, _label in (("one", 100, 1), ("many", 101, 3)):
    OLD.extension.add(
        name=_name, number=_number, label=_label, type=11,
        type_name=".google.protobuf.Any", extendee=".tests.old.Old",
    )  # fmt: skip
OLD.extension.add(name="word", number=102, type=9, label=1, extendee=".tests.old.Old")
_pool = descriptor_pool.Default()
_pool.Add(OLD)
Old = message_factory.GetMessageClass(_pool.FindMessageTypeByName("tests.old.Old"))


def old(seed: int) -> Message:
    # No stub tells a type checker of its fields.
    made: Any = Old.FromString(b"\x0a\x01\xff")
    one, many, word = (
        _pool.FindExtensionByName(f"tests.old.{name}") for name in ("one", "many", "word")
    )
    for name in ("a", "b"):
        detail = any_of(struct(*"abcdef", name), chance(seed))
        made.group.add().detail.CopyFrom(detail)
        made.Extensions[many].add().CopyFrom(detail)
        made.entries[name].CopyFrom(detail)
    made.Extensions[one].CopyFrom(nested(struct(*"abcdef"), 2, seed))
    made.Extensions[word] = "word"
    return cast("Message", made)


def test_old_messages_have_a_form_too() -> None:
    assert old(1) != old(2)
    assert same_content(old(1), old(2))
    assert same_content(any_of_old(1), any_of_old(2))
    bad_key = Old.FromString(b"\x2a\x05\x0a\x01\xff\x12\x00")
    assert canonical_bytes(bad_key) == b"\x2a\x05\x0a\x01\xff\x12\x00"


def any_of_old(seed: int) -> depot_pb2.Label:
    value = old(seed).SerializePartialToString()
    return depot_pb2.Label(detail=raw_any("tests.old.Old", value, chance(seed)))
