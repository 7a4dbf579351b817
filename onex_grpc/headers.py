"""Names of the mesh's headers, and what a call carries in them.

All values are ASCII; together, names included, those of the mesh stay below 1 KiB (gRPC starts to
refuse at 8 KiB of metadata).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from onex_grpc.context import LeaseClaim
from onex_grpc.errors import ContractValidationError, ResourceExhaustedError, Violation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onex_grpc.context import CallContext

CORRELATION_ID: Final = "onex-correlation-id"
WORKFLOW_ID: Final = "onex-workflow-id"
ACTION_ID: Final = "onex-action-id"
ISSUED_AT: Final = "onex-issued-at"
"""When the action was first sent; on repeats alone, so that other calls carry nothing for it."""
LEASE_ID: Final = "onex-lease-id"
FENCE: Final = "onex-fence"
EPOCH: Final = "onex-epoch"
LEASE_TOKEN: Final = "onex-lease-token"  # noqa: S105 - the name of a header, not a secret
CALLER: Final = "onex-caller"
TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
BAGGAGE: Final = "baggage"

MAX_BYTES: Final = 1024
MAX_TRACE_BYTES: Final = 512
"""Most that tracestate and baggage may hold, each."""

LEASE_HEADERS: Final = (WORKFLOW_ID, LEASE_ID, FENCE, LEASE_TOKEN)

_UUID: Final = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_WORKFLOW: Final = r"[A-Za-z0-9._:-]{1,128}"
_CALLER: Final = r"[A-Za-z0-9._/-]{1,128}"
_NUMBER: Final = r"[0-9]{1,19}"
# The last microsecond that a Timestamp can hold: 9999-12-31T23:59:59.999999Z.
LATEST_US: Final = 253_402_300_799_999_999
_USUAL_FORMS: Final[Mapping[str, tuple[str, str]]] = {
    CORRELATION_ID: (_UUID, "a UUID (RFC 9562)"),
    CALLER: (_CALLER, "a node's name as `kind/name`"),
    WORKFLOW_ID: (_WORKFLOW, f"`{_WORKFLOW}`"),
    ACTION_ID: (_UUID, "a UUID (RFC 9562)"),
    LEASE_ID: (_UUID, "a UUID (RFC 9562)"),
    FENCE: (_NUMBER, "a whole number from 1 to 2^63-1"),
    EPOCH: (_NUMBER, "a whole number from 0 to 2^63-1"),
}
_FORMS: Final[Mapping[str, tuple[str, str]]] = {
    **_USUAL_FORMS,
    ISSUED_AT: ("[0-9]{1,18}", f"microseconds since the Unix epoch, from 1 to {LATEST_US}"),
}
# All headers of a usual call in one match: on a cold cache that costs a fifth of seven.
_TRACEPARENT: Final = r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"
_ALL: Final = re.compile(
    " ".join(
        f"(?:{form})?" for form in (*(form for form, _ in _USUAL_FORMS.values()), _TRACEPARENT)
    )
).fullmatch
_is_uuid: Final = re.compile(_UUID).fullmatch
# https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md: Header-Name and ASCII-Value.
_NAME: Final = re.compile(r"[0-9a-z_.-]+").fullmatch
_VALUE: Final = re.compile(r"[\x20-\x7e]*").fullmatch
_MAX_TRACEPARENT: Final = 128
_MAX_NUMBER: Final = 2**63 - 1
# The names and the numbers of fence and epoch take less than 176 bytes.
_SURELY_SHORT: Final = MAX_BYTES - 176

Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass(slots=True)
class Headers:
    """What a call said in its headers; empty or None where it said nothing."""

    correlation_id: str
    caller: str
    traceparent: str
    workflow_id: str
    action_id: str
    epoch: int | None
    lease: LeaseClaim | None = field(repr=False)
    tracestate: str
    baggage: str
    issued_us: int


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID as RFC 9562 writes it, in either case."""
    return _is_uuid(text) is not None


def parse(metadata: Metadata) -> Headers:
    """The mesh's headers among a call's metadata, UUIDs lower-cased.

    A malformed traceparent is dropped, as the W3C recommendation asks.

    Raises:
        ContractValidationError: for headers that are malformed, repeated, or only some of those of
            a lease, and for a time of issue without an action; names all of them.
        ResourceExhaustedError: for headers beyond their limit.
    """
    # Of these names none ends in -bin, so their values are text.
    fields: dict[str, str] = dict(metadata)  # type: ignore[arg-type]
    get = fields.get
    correlation_id, caller = get(CORRELATION_ID, ""), get(CALLER, "")
    workflow_id, action_id = get(WORKFLOW_ID, ""), get(ACTION_ID, "")
    lease_id, fence = get(LEASE_ID, ""), get(FENCE, "")
    token, epoch = get(LEASE_TOKEN, ""), get(EPOCH, "")
    traceparent, tracestate, baggage = get(TRACEPARENT, ""), get(TRACESTATE, ""), get(BAGGAGE, "")
    text = (
        f"{correlation_id} {caller} {workflow_id} {action_id} {lease_id} {fence} {epoch}"
        f" {traceparent}"
    )
    leased = lease_id and fence and token and workflow_id
    issued_us = 0
    if (
        _ALL(text) is None
        or len(fields) != len(metadata)
        or len(text) + len(token) > _SURELY_SHORT
        or not (leased or not (lease_id or fence or token or epoch))
        or tracestate
        or baggage
        or ISSUED_AT in fields
    ):
        _examine(metadata, fields)
        if issued_at := get(ISSUED_AT):
            issued_us = _number(ISSUED_AT, issued_at, 1, LATEST_US)
        if len(traceparent) > _MAX_TRACEPARENT or not re.match(_TRACEPARENT, traceparent):
            traceparent = ""
    lease = None
    if leased:
        lease = LeaseClaim(workflow_id, lease_id.lower(), _number(FENCE, fence, 1), token)
    return Headers(
        correlation_id.lower(),
        caller,
        traceparent,
        workflow_id,
        action_id.lower(),
        _number(EPOCH, epoch, 0) if epoch else None,
        lease,
        tracestate,
        baggage,
        issued_us,
    )


def _examine(metadata: Metadata, fields: Mapping[str, str]) -> None:
    """Finds out what is wrong, if anything is."""
    names = [name for name, _ in metadata if name.startswith("onex-")]
    faults = [
        Violation(name, "sent more than once; send it once")
        for name in sorted({name for name in names if names.count(name) > 1})
    ]
    for name, (form, wanted) in _FORMS.items():
        if (text := fields.get(name)) and not re.fullmatch(form, text):
            faults.append(Violation(name, f"malformed; it must be {wanted}"))
    if any(fields.get(name) for name in (LEASE_ID, FENCE, LEASE_TOKEN, EPOCH)):
        faults += [
            Violation(name, f"missing; send all of {', '.join(LEASE_HEADERS)}, or no lease at all")
            for name in LEASE_HEADERS
            if not fields.get(name)
        ]
    if fields.get(ISSUED_AT) and not fields.get(ACTION_ID):
        fault = f"sent without {ACTION_ID}; send the id of the action that was issued then"
        faults.append(Violation(ISSUED_AT, fault))
    if faults:
        raise ContractValidationError.of(*faults)
    _check_size(fields)


def _number(name: str, text: str, least: int, most: int = _MAX_NUMBER) -> int:
    number = int(text)
    if not least <= number <= most:
        raise _out_of_range(name)
    return number


def _out_of_range(name: str) -> ContractValidationError:
    return ContractValidationError.of(
        Violation(name, f"out of range; it must be {_FORMS[name][1]}")
    )


def _check_trace(fields: Mapping[str, str | bytes]) -> None:
    for name in (TRACESTATE, BAGGAGE):
        if (size := len(fields.get(name, ""))) > MAX_TRACE_BYTES:
            raise ResourceExhaustedError(
                f"header {name} has {size} bytes; at most {MAX_TRACE_BYTES} are allowed",
                context={"header": name},
            )


def _check_size(fields: Mapping[str, str | bytes]) -> None:
    _check_trace(fields)
    size = sum(len(name) + len(text) for name, text in fields.items() if name.startswith("onex-"))
    if size > MAX_BYTES:
        longest = max((n for n in fields if n.startswith("onex-")), key=lambda n: len(fields[n]))
        raise ResourceExhaustedError(
            f"the onex-* headers have {size} bytes together; at most {MAX_BYTES} are allowed; "
            f"shorten {longest}, the longest",
            context={"header": longest},
        )


def write(
    correlation_id: str, traceparent: str, caller: str, call: CallContext | None
) -> list[tuple[str, str | bytes]]:
    """The headers of a call that is made on behalf of `call`, or of nobody.

    Raises:
        ContractValidationError: for a value that is not printable ASCII, and for a time of issue
            out of range; names the header.
        ResourceExhaustedError: for headers beyond their limit.
    """
    fields: list[tuple[str, str | bytes]] = [(CORRELATION_ID, correlation_id)]
    text = correlation_id + caller
    if traceparent:
        fields.append((TRACEPARENT, traceparent))
    if caller:
        fields.append((CALLER, caller))
    if call is not None:
        if call.workflow_id:
            fields.append((WORKFLOW_ID, call.workflow_id))
            text += call.workflow_id
        if call.action_id:
            fields.append((ACTION_ID, call.action_id))
            text += call.action_id
            if call.issued_us:
                if not 0 < call.issued_us <= LATEST_US:
                    raise _out_of_range(ISSUED_AT)
                fields.append((ISSUED_AT, str(call.issued_us)))
                text += str(call.issued_us)
        if (lease := call.lease) is not None:
            fields += (
                (LEASE_ID, lease.lease_id),
                (FENCE, str(lease.fence)),
                (LEASE_TOKEN, lease.token),
            )
            text += lease.lease_id + lease.token
            if not call.workflow_id:
                fields.append((WORKFLOW_ID, lease.workflow_id))
            if call.epoch is not None:
                fields.append((EPOCH, str(call.epoch)))
        if call.tracestate or call.baggage:
            trace = ((TRACESTATE, call.tracestate), (BAGGAGE, call.baggage))
            fields += (field for field in trace if field[1])
            check(fields)
    # One look at all the text at once; only trouble is worth finding out whose it is.
    if len(text) > _SURELY_SHORT or not text.isascii() or not text.isprintable():
        check(fields)
    return fields


def check(metadata: Sequence[tuple[str, str | bytes]]) -> None:
    """Refuses metadata that gRPC would refuse, or send cut up, with an error that names the header.

    Raises:
        ContractValidationError: for a name or value with characters that gRPC does not carry.
        ResourceExhaustedError: for headers beyond their limit.
    """
    faults = [Violation(name, fault) for name, text in metadata if (fault := _fault_of(name, text))]
    if faults:
        raise ContractValidationError.of(*faults)
    fields = dict(metadata)
    _check_size(fields)


def _fault_of(name: str, text: str | bytes) -> str:
    if not _NAME(name) or name.startswith("grpc-"):
        return "not a header name; use [0-9a-z_.-], not starting with grpc-"
    if name.endswith("-bin") != isinstance(text, bytes):
        return "bytes need a name that ends in -bin, and text one that does not"
    if isinstance(text, str) and not _VALUE(text):
        return "not printable ASCII; encode the value, or use a -bin header"
    return ""
