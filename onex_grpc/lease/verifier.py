"""Verification of lease tokens, each signature once."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from onex_grpc.errors import LeaseValidationError
from onex_grpc.lease.token import LeaseClaims, token_kid, verify_token

if TYPE_CHECKING:
    from onex_grpc.lease.keys import KeySource


class TokenVerifier:
    """Remembers the tokens that it has verified (an LRU), for a signature costs 100 µs to check."""

    def __init__(self, keys: KeySource, *, capacity: int = 10_000) -> None:
        self._keys = keys
        self._capacity = capacity
        self._verified: OrderedDict[str, LeaseClaims] = OrderedDict()

    def verify_now(self, token: str) -> LeaseClaims | None:
        """The claims of a token without waiting; None where its key must be asked for first.

        Raises:
            LeaseValidationError: when the token is no JWT, forged or altered.
        """
        claims = self._verified.get(token)
        if claims is not None:
            self._verified.move_to_end(token)
            return claims
        key = self._keys.find(token_kid(token))
        return None if key is None else self._remember(token, verify_token(token, key))

    async def verify(self, token: str) -> LeaseClaims:
        """The claims of a token, its key asked for if need be.

        Raises:
            LeaseValidationError: as verify_now, and when nobody knows the key.
            NodeUnavailableError: when the orchestrator does not answer.
        """
        claims = self.verify_now(token)
        if claims is not None:
            return claims
        kid = token_kid(token)
        key = await self._keys.fetch(kid)
        if key is None:
            raise LeaseValidationError(f"the lease token's key {kid!r} is not the orchestrator's")
        return self._remember(token, verify_token(token, key))

    def _remember(self, token: str, claims: LeaseClaims) -> LeaseClaims:
        self._verified[token] = claims
        if len(self._verified) > self._capacity:
            self._verified.popitem(last=False)
        return claims
