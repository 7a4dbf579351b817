"""A notification as an e-mail message."""

from __future__ import annotations

from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from string import Template
from typing import TYPE_CHECKING

from onex_grpc.errors import ConfigurationError, ContractValidationError, Violation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onex.v1 import common_pb2
    from onex_grpc.effect.operation import EffectRequest
    from onex_grpc.effect.settings import MailTemplate

# Text that may be anything in UTF-8, lines ending as they do in files.
_POLICY = SMTP.clone(linesep="\n", cte_type="8bit", max_line_length=998)


class MailForm:
    """A template, checked when it is loaded.

    Raises:
        ConfigurationError: for a placeholder that is none.
    """

    def __init__(self, name: str, template: MailTemplate) -> None:
        self._name = name
        self._subject = _template(name, "subject", template.subject)
        self._body = _template(name, "body", template.body)

    def message(self, request: EffectRequest, sender: str, message_id: str) -> bytes:
        """The message as it is stored.

        Raises:
            ContractValidationError: for a placeholder without a value, or a value that would break
                out of its header.
        """
        notification = request.operation.notification
        values = _texts(notification.data)
        message = EmailMessage(policy=_POLICY)
        try:
            message["From"] = sender
            message["To"] = notification.to
            _refuse_several(message, notification.to)
            message["Subject"] = self._fill(self._subject, values)
            message["Date"] = formatdate()
            message["Message-ID"] = f"<{message_id}@onex.invalid>"
            message["X-Onex-Correlation-Id"] = request.correlation_id
            if request.key:
                message["X-Onex-Idempotency-Key"] = request.key
            message.set_content(self._fill(self._body, values))
        except (ValueError, MessageError) as error:
            raise _invalid("notification", f"does not fit into a header: {error}") from error
        return message.as_bytes()

    def _fill(self, template: Template, values: Mapping[str, str]) -> str:
        missing = sorted(set(template.get_identifiers()) - set(values))
        if missing:
            raise _invalid(
                "notification.data", f"template {self._name!r} needs {', '.join(missing)}"
            )
        return template.substitute(values)


def _refuse_several(message: EmailMessage, recipient: str) -> None:
    """Refuses what the target's pattern let pass but a mail program would read as more."""
    addresses = message["To"].addresses
    if len(addresses) != 1 or addresses[0].addr_spec != recipient:
        raise _invalid("notification.to", "must be one plain address, like name@example.org")


def _template(name: str, part: str, text: str) -> Template:
    template = Template(text)
    if not template.is_valid():
        raise ConfigurationError(
            f"template {name!r}: its {part} has a `$` that begins no placeholder; write `$$`"
        )
    return template


def _texts(data: Mapping[str, common_pb2.Scalar]) -> dict[str, str]:
    return {name: _text(name, scalar) for name, scalar in data.items()}


def _text(name: str, scalar: common_pb2.Scalar) -> str:
    match scalar.WhichOneof("kind"):
        case "string_value":
            return scalar.string_value
        case "int64_value":
            return str(scalar.int64_value)
        case "double_value":
            return repr(scalar.double_value)
        case "bool_value":
            return "true" if scalar.bool_value else "false"
        case _:
            raise _invalid(f"notification.data[{name}]", "give a text, a number or a truth value")


def _invalid(field: str, description: str) -> ContractValidationError:
    return ContractValidationError.of(Violation(f"operation.{field}", description))
