"""The correlation id of a message: where it stands, and that it agrees with the call's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.errors import ContractValidationError, Violation
from onex_grpc.headers import CORRELATION_ID, is_uuid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

_FIELD: Final = "correlation_id"
_PACKAGE: Final = "onex.v1"


class CorrelationField:
    """Where messages of one type hold their correlation id: at the top, or in a message inside,
    as the action of an ExecuteActionRequest or the event of a PublishRequest. In messages of the
    user's own a field of that name is hers: they hold none.
    """

    def __init__(self, message_type: type[Message]) -> None:
        ours = message_type.DESCRIPTOR.file.package == _PACKAGE
        fields = message_type.DESCRIPTOR.fields if ours else ()
        self._top = any(f.name == _FIELD and not f.is_repeated for f in fields)
        self._inside = tuple(
            f.name
            for f in fields
            if f.message_type is not None
            and not f.is_repeated
            and f.message_type.file.package == message_type.DESCRIPTOR.file.package
            and _FIELD in f.message_type.fields_by_name
        )

    def read(self, message: Message) -> str:
        """The id that the message holds, in lower case; empty without a well-formed one."""
        for _, holder in self._holders(message):
            text: str = getattr(holder, _FIELD)
            if is_uuid(text):
                return text.lower()
        return ""

    def settle(self, message: Message, correlation_id: str) -> None:
        """Fills the id in where it is empty.

        Raises:
            ContractValidationError: for another id than the call's.
        """
        if self._top and message.correlation_id == correlation_id and not self._inside:  # type: ignore[attr-defined]
            return
        for path, holder in self._holders(message):
            found = getattr(holder, _FIELD)
            if not found:
                setattr(holder, _FIELD, correlation_id)
            elif found != correlation_id and found.lower() != correlation_id:
                raise ContractValidationError.of(
                    Violation(
                        path,
                        f"differs from the header {CORRELATION_ID}; send the same id, or leave "
                        "one of them empty",
                    )
                )

    def fill(self, message: Message, correlation_id: str) -> None:
        """Fills the id in where it is empty, and leaves others alone."""
        for _, holder in self._holders(message):
            if not getattr(holder, _FIELD):
                setattr(holder, _FIELD, correlation_id)

    def _holders(self, message: Message) -> Iterator[tuple[str, Message]]:
        if self._top:
            yield _FIELD, message
        for name in self._inside:
            if message.HasField(name):
                yield f"{name}.{_FIELD}", getattr(message, name)
