"""Tokens as other programs see them: JWTs that any library reads, and none that it must not."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex_grpc.errors import LeaseValidationError
from onex_grpc.lease.keys import SigningKey
from onex_grpc.lease.token import LeaseClaims, sign_token, token_kid, verify_token
from onex_grpc.store.model import LeaseGrant

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = SigningKey.of(bytes(range(32)))
PUBLIC = KEY.private.public_key()
CLAIMS = {"sub": "w", "jti": "l", "iss": "orchestrator/main", "fnc": 5, "exp": 1_700_000_030}
HEADER = {"alg": "EdDSA", "kid": KEY.kid, "typ": "JWT"}


def signed(header: Mapping[str, object], claims: object) -> str:
    """A token with a genuine signature, whatever it says."""
    text = ".".join(_segment(json.dumps(part).encode()) for part in (header, claims))
    return f"{text}.{_segment(KEY.private.sign(text.encode()))}"


def _segment(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@given(
    st.builds(
        LeaseGrant,
        workflow_id=st.text(),
        lease_id=st.text(),
        fence=st.integers(0, 2**63 - 1),
        holder=st.text(),
        ttl_us=st.just(30_000_000),
        remaining_us=st.integers(0, 30_000_000),
        epoch=st.just(0),
    )
)
def test_a_jwt_library_reads_our_tokens(grant: LeaseGrant) -> None:
    token = sign_token(KEY, grant, 1_700_000_000.0)
    options: jwt.types.Options = {"verify_exp": False}
    claims = jwt.decode(token, PUBLIC, algorithms=["EdDSA"], options=options)
    assert verify_token(token, PUBLIC) == LeaseClaims(
        claims["sub"], claims["jti"], claims["fnc"], claims["iss"], claims["exp"]
    )
    assert jwt.get_unverified_header(token)["kid"] == token_kid(token) == KEY.kid


def test_we_read_the_tokens_of_a_jwt_library() -> None:
    token = jwt.encode(CLAIMS, KEY.private, algorithm="EdDSA", headers={"kid": KEY.kid})
    assert verify_token(token, PUBLIC) == LeaseClaims("w", "l", 5, "orchestrator/main", 1700000030)


@pytest.mark.parametrize(
    "header",
    [
        {**HEADER, "alg": "none"},
        {**HEADER, "alg": "HS256"},
        {**HEADER, "crit": ["b64"], "b64": False},
        {"alg": "EdDSA"},
        {"alg": "EdDSA", "kid": 1},
        ["EdDSA"],
    ],
)
def test_another_kind_of_token_is_refused(header: Mapping[str, object]) -> None:
    with pytest.raises(LeaseValidationError):
        verify_token(signed(header, CLAIMS), PUBLIC)


@pytest.mark.parametrize(
    "claims",
    [
        *({name: value for name, value in CLAIMS.items() if name != left} for left in CLAIMS),
        {**CLAIMS, "fnc": "5"},
        {**CLAIMS, "fnc": True},
        {**CLAIMS, "exp": 1.5},
        {**CLAIMS, "sub": None},
        ["w"],
    ],
)
def test_claims_that_are_not_those_of_a_lease_are_refused(claims: object) -> None:
    with pytest.raises(LeaseValidationError, match="claims"):
        verify_token(signed(HEADER, claims), PUBLIC)


@given(st.data())
def test_no_part_of_a_token_can_be_changed(data: st.DataObject) -> None:
    token = signed(HEADER, CLAIMS)
    # The last character of a signature carries bits that belong to no byte.
    place = data.draw(st.integers(0, len(token) - 2))
    put = data.draw(st.characters().filter(lambda c: c != token[place]))
    with pytest.raises(LeaseValidationError):
        verify_token(token[:place] + put + token[place + 1 :], PUBLIC)


@pytest.mark.parametrize("character", ["+", "/"])
def test_a_token_has_one_text(character: str) -> None:
    standard = {"+": "-", "/": "_"}[character]
    fences = (signed(HEADER, {**CLAIMS, "fnc": fence}) for fence in range(1, 1000))
    token = next(each for each in fences if standard in each)
    with pytest.raises(LeaseValidationError):
        verify_token(token.replace(standard, character), PUBLIC)


@given(st.text())
def test_any_text_is_refused_with_a_clear_error(text: str) -> None:
    for token in (text, f"{signed(HEADER, CLAIMS)}{text}.", f"{text}.{text}.{text}"):
        with pytest.raises(LeaseValidationError):
            verify_token(token, PUBLIC)
