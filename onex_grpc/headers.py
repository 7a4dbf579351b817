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
    from collections.abc import Callable, Sequence

    from onex_grpc.context import CallContext

CORRELATION_ID: Final = "onex-correlation-id"
WORKFLOW_ID: Final = "onex-workflow-id"
ACTION_ID: Final = "onex-action-id"
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

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch
_WORKFLOW: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}").fullmatch
_NUMBER: Final = re.compile(r"[0-9]{1,19}").fullmatch
_CALLER: Final = re.compile(r"[A-Za-z0-9._/-]{1,128}").fullmatch
# https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md: Header-Name and ASCII-Value.
_NAME: Final = re.compile(r"[0-9a-z_.-]+").fullmatch
_VALUE: Final = re.compile(r"[\x20-\x7e]*").fullmatch
_MAX_TRACEPARENT: Final = 128
_MAX_NUMBER: Final = 2**63 - 1
# The names and the two numbers take less than 160 bytes.
_SURELY_SHORT: Final = MAX_BYTES - 160
_REST: Final = frozenset(
    {WORKFLOW_ID, ACTION_ID, LEASE_ID, FENCE, EPOCH, LEASE_TOKEN, TRACESTATE, BAGGAGE}
)

Metadata = tuple[tuple[str, str | bytes], ...]


@dataclass(slots=True)
class Headers:
    """What a call said in its headers; empty or None where it said nothing."""

    correlation_id: str = ""
    caller: str = ""
    traceparent: str = ""
    workflow_id: str = ""
    action_id: str = ""
    epoch: int | None = None
    lease: LeaseClaim | None = field(default=None, repr=False)
    tracestate: str = ""
    baggage: str = ""


def is_uuid(text: str) -> bool:
    """Whether a text is a UUID as RFC 9562 writes it, in either case."""
    return _UUID(text) is not None


def parse(metadata: Metadata) -> Headers:
    """The mesh's headers among a call's metadata, UUIDs lower-cased.

    What traceparent says is left to telemetry; one that is far too long is dropped.

    Raises:
        ContractValidationError: for headers that are malformed, repeated, or only some of those of
            a lease; names all of them.
        ResourceExhaustedError: for headers beyond their limit.
    """
    fields = dict(metadata)
    headers = Headers()
    faults: list[Violation] = []
    if len(fields) != len(metadata):
        _find_repeated(metadata, faults)
    if (text := fields.get(CORRELATION_ID)) is not None:
        headers.correlation_id = _uuid(CORRELATION_ID, text, faults)
    if (text := fields.get(CALLER)) is not None:
        headers.caller = _match(CALLER, text, _CALLER, "a node's name as `kind/name`", faults)
    if (text := fields.get(TRACEPARENT)) is not None and len(text) <= _MAX_TRACEPARENT:
        headers.traceparent = str(text)
    # Most calls of outside clients end here.
    if not _REST.isdisjoint(fields):
        _parse_rest(fields, headers, faults)
    if faults:
        raise ContractValidationError.of(*faults)
    return headers


def _parse_rest(fields: dict[str, str | bytes], headers: Headers, faults: list[Violation]) -> None:
    if (text := fields.get(WORKFLOW_ID)) is not None:
        headers.workflow_id = _match(
            WORKFLOW_ID, text, _WORKFLOW, "`[A-Za-z0-9._:-]{1,128}`", faults
        )
    if (text := fields.get(ACTION_ID)) is not None:
        headers.action_id = _uuid(ACTION_ID, text, faults)
    if (text := fields.get(EPOCH)) is not None:
        headers.epoch = _number(EPOCH, text, 0, faults)
    token = str(fields.get(LEASE_TOKEN, ""))
    if token or LEASE_ID in fields or FENCE in fields or EPOCH in fields:
        _check_size(fields)
        faults += [
            Violation(name, f"missing; send all of {', '.join(LEASE_HEADERS)}, or no lease at all")
            for name in LEASE_HEADERS
            if not fields.get(name)
        ]
        headers.lease = LeaseClaim(
            headers.workflow_id,
            _uuid(LEASE_ID, fields.get(LEASE_ID) or "", faults) if LEASE_ID in fields else "",
            _number(FENCE, fields[FENCE], 1, faults) if FENCE in fields else 0,
            token,
        )
    headers.tracestate = _trace(TRACESTATE, fields)
    headers.baggage = _trace(BAGGAGE, fields)


def _find_repeated(metadata: Metadata, faults: list[Violation]) -> None:
    names = [name for name, _ in metadata if name.startswith("onex-")]
    faults += [
        Violation(name, "sent more than once; send it once")
        for name in sorted({name for name in names if names.count(name) > 1})
    ]


def _match(
    name: str,
    text: str | bytes,
    matches: Callable[[str], re.Match[str] | None],
    wanted: str,
    faults: list[Violation],
) -> str:
    if not isinstance(text, str) or matches(text) is None:
        faults.append(Violation(name, f"malformed; it must be {wanted}"))
        return ""
    return text


def _uuid(name: str, text: str | bytes, faults: list[Violation]) -> str:
    return _match(name, text, _UUID, "a UUID (RFC 9562)", faults).lower()


def _number(name: str, text: str | bytes, least: int, faults: list[Violation]) -> int:
    if isinstance(text, str) and _NUMBER(text) and least <= (number := int(text)) <= _MAX_NUMBER:
        return number
    faults.append(Violation(name, f"malformed; it must be a whole number from {least} to 2^63-1"))
    return least


def _trace(name: str, fields: dict[str, str | bytes]) -> str:
    text = str(fields.get(name, ""))
    if len(text) > MAX_TRACE_BYTES:
        raise ResourceExhaustedError(
            f"header {name} has {len(text)} bytes; at most {MAX_TRACE_BYTES} are allowed",
            context={"header": name},
        )
    return text


def _check_size(fields: dict[str, str | bytes]) -> None:
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
        ContractValidationError: for a value that is not printable ASCII; names the header.
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
            fields += ((TRACESTATE, call.tracestate), (BAGGAGE, call.baggage))
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
    _trace(TRACESTATE, fields)
    _trace(BAGGAGE, fields)


def _fault_of(name: str, text: str | bytes) -> str:
    if not _NAME(name) or name.startswith("grpc-"):
        return "not a header name; use [0-9a-z_.-], not starting with grpc-"
    if name.endswith("-bin") != isinstance(text, bytes):
        return "bytes need a name that ends in -bin, and text one that does not"
    if isinstance(text, str) and not _VALUE(text):
        return "not printable ASCII; encode the value, or use a -bin header"
    return ""
