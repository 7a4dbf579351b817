"""Lease tokens: EdDSA JWTs (RFC 7519, 8037) over workflow, lease id, fence, holder, expiry."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import jwt

from onex_grpc.errors import LeaseValidationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from onex_grpc.lease.keys import SigningKey
    from onex_grpc.store.model import LeaseGrant

_ALGORITHM: Final = "EdDSA"
_CLAIMS: Final = ("sub", "jti", "iss", "fnc", "exp")
# Expiry is judged on every use of a token, not only when its signature is; see LeaseAdmission.
_OPTIONS: Final[jwt.types.Options] = {
    "require": list(_CLAIMS),
    "verify_exp": False,
    "verify_aud": False,
}


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
    claims = {
        "sub": grant.workflow_id,
        "jti": grant.lease_id,
        "iss": grant.holder,
        "fnc": grant.fence,
        "exp": math.ceil(now + grant.remaining_us / 1e6),
    }
    # RFC 7515, section 3.1. A workflow signs once; PyJWT would double what its signature costs.
    signed = f"{_header(key.kid)}.{_segment(json.dumps(claims).encode())}"
    return f"{signed}.{_segment(key.private.sign(signed.encode()))}"


@lru_cache(maxsize=16)
def _header(kid: str) -> str:
    return _segment(json.dumps({"alg": _ALGORITHM, "kid": kid, "typ": "JWT"}).encode())


def _segment(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token_kid(token: str) -> str:
    """The name of the key that a token claims to be signed with; raises LeaseValidationError."""
    return _kid(token.partition(".")[0])


@lru_cache(maxsize=64)
def _kid(header: str) -> str:
    # All tokens of a key have the same header, and reading one costs as much as signing.
    try:
        fields = json.loads(base64.urlsafe_b64decode(header + "=="))
    except ValueError:
        raise LeaseValidationError("the lease token is no JWT; send that of the lease") from None
    kid = fields.get("kid") if isinstance(fields, dict) else None
    if not isinstance(kid, str):
        raise LeaseValidationError("the lease token names no key (kid); send that of the lease")
    return kid


def verify_token(token: str, key: Ed25519PublicKey) -> LeaseClaims:
    """The claims of a token of this key, expired or not; raises LeaseValidationError."""
    try:
        claims = jwt.decode(token, key, algorithms=[_ALGORITHM], options=_OPTIONS)
        fence, expires_at = claims["fnc"], claims["exp"]
    except jwt.InvalidTokenError as error:
        raise LeaseValidationError(f"the lease token is forged or altered: {error}") from None
    if type(fence) is not int or type(expires_at) is not int:
        raise LeaseValidationError("the lease token's fnc and exp must be whole numbers")
    return LeaseClaims(claims["sub"], claims["jti"], fence, claims["iss"], expires_at)
