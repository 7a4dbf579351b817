"""Loads the settings: from onex.toml, then ONEX_* variables, then what the command line says."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

import msgspec
from msgspec import inspect

from onex_grpc.errors import ConfigurationError
from onex_grpc.serve.settings import Settings

DEFAULT_FILE: Final = "onex.toml"

# Names the file itself, so it cannot stand in it.
_FILE_VARIABLE: Final = "ONEX_CONFIG"
_PREFIX: Final = "ONEX_"
# Kubernetes tells every pod of every service: for one named onex-orders, ONEX_ORDERS_SERVICE_HOST
# and the like.
_SERVICE_LINK: Final = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT(_\d+_(TCP|UDP)(_\w+)?)?$")
_SCHEMA: Final = inspect.type_info(Settings)

Table = dict[str, object]


def load_settings(
    file: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
) -> Settings:
    """The settings of this process; later sources go before earlier ones, key by key.

    A variable is named after its key: ONEX_DRAIN_GRACE, ONEX_LIMITS__MESSAGE_BYTES; tables and
    lists are given as JSON.

    Args:
        file: the file; where it is None, that of ONEX_CONFIG, or onex.toml here if there is one.
        environment: the variables; those of the process where it is None.
        overrides: settings from the command line, nested as in the file.

    Raises:
        ConfigurationError: for a file that is absent or no TOML, an unknown key (named, with close
            ones) and a value that does not fit.
    """
    environment = os.environ if environment is None else environment
    sources = {
        **_read_file(file, environment),
        "environment": _read_environment(environment),
        "command line": dict(overrides or {}),
    }
    merged: Table = {}
    for source, table in sources.items():
        _check_keys(table, _SCHEMA, source, "")
        merged = _merge(merged, table)
    try:
        # Variables are text, so numbers and truth values may be.
        return msgspec.convert(merged, Settings, strict=False)
    except msgspec.ValidationError as fault:
        raise ConfigurationError(_describe(str(fault))) from None


def _read_file(file: Path | None, environment: Mapping[str, str]) -> dict[str, Table]:
    if file is None and (named := environment.get(_FILE_VARIABLE)):
        file = Path(named)
    if file is None:
        file = Path(DEFAULT_FILE)
        if not file.exists():
            return {}
    try:
        return {str(file): tomllib.loads(file.read_text(encoding="utf-8-sig"))}
    except OSError as fault:
        raise ConfigurationError(f"{file} cannot be read: {fault.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise ConfigurationError(f"{file} is not TOML: {fault}") from None


def _read_environment(environment: Mapping[str, str]) -> Table:
    found: dict[str, Table] = {}
    for name, text in environment.items():
        if not name.startswith(_PREFIX) or name == _FILE_VARIABLE:
            continue
        path = name.removeprefix(_PREFIX).lower().split("__")
        kind = _type_at(path)
        if kind is None:
            if _SERVICE_LINK.search(name):
                continue
            known = [f"{_PREFIX}{p.upper()}" for p in _variable_names(_SCHEMA, "")]
            raise ConfigurationError(f"{name} is no setting{_close(name, known)}")
        value = _decode_json(name, text) if _is_structured(kind) else text
        for key in reversed(path):
            value = {key: value}
        found[name] = cast("Table", value)
    # A whole table first, so that its keys' own variables go before it.
    table: Table = {}
    for name in sorted(found, key=lambda name: (name.count("__"), name)):
        table = _merge(table, found[name])
    return table


def _decode_json(name: str, text: str) -> object:
    try:
        value: object = msgspec.json.decode(text)
    except msgspec.DecodeError as fault:
        raise ConfigurationError(f"{name} is not JSON: {fault}") from None
    return value


def _merge(below: Table, above: Mapping[str, object]) -> Table:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        if isinstance(under, dict) and isinstance(value, Mapping):
            merged[key] = _merge(under, value)
        else:
            merged[key] = value
    return merged


def _check_keys(value: object, kind: inspect.Type, source: str, path: str) -> None:
    """Refuses keys that no setting has; values are left to msgspec."""
    if not isinstance(value, Mapping):
        return
    struct = _struct_of(kind, value)
    if struct is None:
        mapping = _plain(kind)
        if isinstance(mapping, inspect.DictType):
            for key, below in value.items():
                _check_keys(below, mapping.value_type, source, f"{path}{key}.")
        return
    fields = {field.encode_name: field.type for field in struct.fields}
    for key, below in value.items():
        if key == struct.tag_field:
            continue
        if key not in fields:
            raise ConfigurationError(
                f"{source}: {path}{key} is no setting{_close(key, list(fields))}"
            )
        _check_keys(below, fields[key], source, f"{path}{key}.")


def _struct_of(kind: inspect.Type, value: Mapping[str, object]) -> inspect.StructType | None:
    structs = [t for t in _alternatives(kind) if isinstance(t, inspect.StructType)]
    if len(structs) == 1:
        return structs[0]
    return next((t for t in structs if t.tag_field and value.get(t.tag_field) == t.tag), None)


def _alternatives(kind: inspect.Type) -> tuple[inspect.Type, ...]:
    return kind.types if isinstance(kind, inspect.UnionType) else (kind,)


def _plain(kind: inspect.Type) -> inspect.Type:
    """A type without its `| None`."""
    return next(t for t in _alternatives(kind) if not isinstance(t, inspect.NoneType))


def _is_structured(kind: inspect.Type) -> bool:
    return isinstance(_plain(kind), inspect.StructType | inspect.DictType | inspect.ListType)


def _type_at(path: list[str]) -> inspect.Type | None:
    kind: inspect.Type = _SCHEMA
    for key in path:
        struct = _plain(kind)
        if not isinstance(struct, inspect.StructType):
            return None
        below = next((f.type for f in struct.fields if f.encode_name == key), None)
        if below is None:
            return None
        kind = below
    return kind


def _variable_names(kind: inspect.Type, prefix: str) -> list[str]:
    struct = _plain(kind)
    if not isinstance(struct, inspect.StructType):
        return []
    found = []
    for field in struct.fields:
        name = f"{prefix}{field.encode_name}"
        found += [name, *_variable_names(field.type, f"{name}__")]
    return found


def _close(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=3)
    return (
        f"; did you mean {' or '.join(near)}?" if near else f"; known: {', '.join(sorted(known))}"
    )


def _describe(fault: str) -> str:
    # msgspec says: Expected `int`, got `str` - at `$.limits.message_bytes`
    text, _, place = fault.partition(" - at `$")
    path = place.rstrip("`").lstrip(".")
    return f"{path}: {text[:1].lower()}{text[1:]}" if path else text
