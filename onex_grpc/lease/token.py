"""Lease tokens: EdDSA JWTs (RFC 7519, 8037) over workflow, lease id, fence, holder, expiry."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.exceptions import InvalidSignature

from onex_grpc.errors import LeaseValidationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from onex_grpc.lease.keys import SigningKey
    from onex_grpc.store.model import LeaseGrant

_ALGORITHM: Final = "EdDSA"
# b64decode takes them for `-` and `_`, so that one token would have many texts.
_NOT_BASE64URL: Final = frozenset("+/")


class _Header(msgspec.Struct):
    """The header of a token."""

    alg: str
    kid: str
    crit: object = None


class _Claims(msgspec.Struct):
    """The claims as they stand in a token."""

    sub: str
    jti: str
    iss: str
    fnc: int
    exp: int


_read_header: Final = msgspec.json.Decoder(_Header).decode
_read_claims: Final = msgspec.json.Decoder(_Claims).decode


@dataclass(frozen=True, slots=True)
class LeaseClaims:
    """What a verified token says; `expires_at` is in seconds since the Unix epoch."""

    workflow_id: str
    lease_id: str = field(repr=False)
    fence: int
    holder: str
    expires_at: int


def sign_token(key: SigningKey, grant: LeaseGrant, now: float) -> str:
    """The token of a lease; `now` is wall-clock seconds, to which the time left is added."""
    claims = _Claims(
        sub=grant.workflow_id,
        jti=grant.lease_id,
        iss=grant.holder,
        fnc=grant.fence,
        exp=math.ceil(now + grant.remaining_us / 1e6),
    )
    # RFC 7515, section 3.1. A workflow signs once; PyJWT would double what its signature costs.
    signed = f"{_header(key.kid)}.{_segment(msgspec.json.encode(claims))}"
    return f"{signed}.{_segment(key.private.sign(signed.encode()))}"


@lru_cache(maxsize=16)
def _header(kid: str) -> str:
    return _segment(msgspec.json.encode({"alg": _ALGORITHM, "kid": kid, "typ": "JWT"}))


def _segment(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token_kid(token: str) -> str:
    """The name of the key that a token claims to be signed with; raises LeaseValidationError."""
    return _kid(token.partition(".")[0])


@lru_cache(maxsize=64)
def _kid(header: str) -> str:
    # All tokens of a key have the same header, and reading one costs as much as signing.
    try:
        fields = _read_header(_read_segment(header))
    except (ValueError, RecursionError):
        raise LeaseValidationError(
            "the lease token is no JWT that names its key (kid); send that of the lease"
        ) from None
    # An extension that must be understood (RFC 7515, section 4.1.11) is none that we know.
    if fields.alg != _ALGORITHM or fields.crit is not None:
        raise LeaseValidationError(
            f"the lease token is no plain {_ALGORITHM} JWT; send that of the lease"
        )
    return fields.kid


def verify_token(token: str, key: Ed25519PublicKey) -> LeaseClaims:
    """The claims of a token of this key, expired or not; raises LeaseValidationError.

    Expiry is judged on every use of a token, not only when its signature is; see LeaseAdmission.
    """
    token_kid(token)
    signed, _, signature = token.rpartition(".")
    try:
        # RFC 7515, section 5.2, and RFC 8037: no claim is read that the signature does not cover.
        key.verify(_read_segment(signature), signed.encode("ascii"))
    except (InvalidSignature, ValueError):
        raise LeaseValidationError(
            "the lease token is forged or altered; send that of the lease"
        ) from None
    try:
        claims = _read_claims(_read_segment(signed.partition(".")[2]))
    except ValueError as error:
        raise LeaseValidationError(
            f"the lease token's claims are not those of a lease: {error}"
        ) from None
    return LeaseClaims(claims.sub, claims.jti, claims.fnc, claims.iss, claims.exp)


def _read_segment(segment: str) -> bytes:
    if not _NOT_BASE64URL.isdisjoint(segment):
        raise ValueError("characters that base64url does not have")
    padding = "=" * (-len(segment) % 4)
    return base64.b64decode(segment + padding, altchars=b"-_", validate=True)
