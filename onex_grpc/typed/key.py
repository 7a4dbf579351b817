"""The field of a request that names the entity or the workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.contract.rule import NUL, NUL_FAULT
from onex_grpc.errors import ContractValidationError, Violation

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

LONGEST: Final = 200
"""Most characters of an entity's key."""


def key_of(request: Message, path: str) -> str:
    """The text at a path like `order_id` or `order.id`; empty where it is not set."""
    value: object = request
    for name in path.split("."):
        value = getattr(value, name)
    return str(value)


def required_key(request: Message, path: str) -> str:
    """The key of an entity.

    Raises:
        ContractValidationError: for one that is empty or too long, or has a NUL in it; names the
            path.
    """
    key = key_of(request, path)
    if not 1 <= len(key) <= LONGEST:
        raise ContractValidationError.of(
            Violation(
                path,
                f"has {len(key)} characters; it names the entity and needs 1 to {LONGEST}",
            )
        )
    if NUL in key:
        raise ContractValidationError.of(Violation(path, NUL_FAULT))
    return key


def put_key(request: Message, path: str, key: str) -> None:
    """Sets the text at a path."""
    *outer, name = path.split(".")
    target: object = request
    for step in outer:
        target = getattr(target, step)
    setattr(target, name, key)


def has_only_key(request: type[Message], path: str) -> bool:
    """Whether a request says nothing but its key, so that leaving it out leaves nothing open."""
    found: Descriptor | None = request.DESCRIPTOR  # type: ignore[assignment]
    for name in path.split("."):
        if found is None or set(found.fields_by_name) - {name}:
            return False
        field = found.fields_by_name.get(name)
        found = field.message_type if field is not None else None
    return True
