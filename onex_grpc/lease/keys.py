"""The key that signs lease tokens, and where a node gets the public halves from."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from onex.v1 import lease_pb2
from onex_grpc.context import CallContext, current_call, enter_call
from onex_grpc.errors import ConfigurationError, NodeUnavailableError, OnexError, UnavailableError

if TYPE_CHECKING:
    from onex_grpc.store.protocol import SecretStore

_SECRET: Final = "lease-signing-key"  # noqa: S105 - the name of a secret, not the secret
_REFETCH_SECONDS: Final = 5.0

ListKeys = Callable[[], Awaitable[lease_pb2.ListKeysResponse]]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key (RFC 8032) and the name under which tokens refer to it."""

    kid: str
    private: Ed25519PrivateKey

    @classmethod
    def of(cls, seed: bytes) -> SigningKey:
        """The key of a 32-byte seed; its kid is derived from the public half."""
        private = Ed25519PrivateKey.from_private_bytes(seed)
        return cls(_kid(private.public_key().public_bytes_raw()), private)

    def public(self) -> lease_pb2.PublicKey:
        """The half that verifies, as ListKeys returns it."""
        return lease_pb2.PublicKey(
            kid=self.kid, ed25519=self.private.public_key().public_bytes_raw()
        )


def _kid(public: bytes) -> str:
    return hashlib.sha256(public).hexdigest()[:16]


async def load_signing_key(store: SecretStore) -> SigningKey:
    """The store's signing key; made at first use, so that tokens outlive the process."""
    fresh = Ed25519PrivateKey.generate().private_bytes_raw()
    return SigningKey.of(await store.get_or_create_secret(_SECRET, fresh))


class KeySource(Protocol):
    """Public keys by kid."""

    def find(self, kid: str) -> Ed25519PublicKey | None:
        """The key if it is at hand."""
        ...

    async def fetch(self, kid: str) -> Ed25519PublicKey | None:
        """The key, asked for where it is not at hand; None where there is none."""
        ...


class PinnedKeys:
    """Keys that were given, and no others: an orchestrator's own, or those in settings."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        """Takes raw Ed25519 public keys (32 bytes) by kid.

        Raises:
            ConfigurationError: when one is not a key.
        """
        self._keys = {kid: _public_key(kid, raw) for kid, raw in keys.items()}

    @classmethod
    def of(cls, key: SigningKey) -> PinnedKeys:
        """The public half of a signing key."""
        public = key.public()
        return cls({public.kid: public.ed25519})

    def find(self, kid: str) -> Ed25519PublicKey | None:
        """The key if it was given."""
        return self._keys.get(kid)

    async def fetch(self, kid: str) -> Ed25519PublicKey | None:
        """The key if it was given."""
        return self._keys.get(kid)


class RemoteKeys:
    """Keys asked for at the orchestrator at first use, and again when an unknown kid turns up."""

    def __init__(self, list_keys: ListKeys, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._list_keys = list_keys
        self._clock = clock
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._fetched_at: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    def find(self, kid: str) -> Ed25519PublicKey | None:
        """The key if it was fetched before."""
        return self._keys.get(kid)

    async def fetch(self, kid: str) -> Ed25519PublicKey | None:
        """The key, from the orchestrator if need be.

        Unknown kids make it ask at most every 5 s, so that forged tokens cannot flood it.

        Raises:
            NodeUnavailableError: when the orchestrator does not answer.
        """
        if kid not in self._keys and self._may_ask():
            if self._fetching is None or self._fetching.done():
                self._fetching = asyncio.create_task(self._ask())
                # Looked at, so that a failure after all callers gave up is not reported as lost.
                self._fetching.add_done_callback(lambda task: task.cancelled() or task.exception())
            # All callers share one request; one that gives up must not cancel it for the others.
            await asyncio.shield(self._fetching)
        return self._keys.get(kid)

    def _may_ask(self) -> bool:
        return self._fetched_at is None or self._clock() >= self._fetched_at + _REFETCH_SECONDS

    async def _ask(self) -> None:
        call = current_call()
        if call is not None:
            # The lease in question must not travel along: the orchestrator would judge it first.
            enter_call(CallContext(call.correlation_id, traceparent=call.traceparent))
        try:
            answer = await self._list_keys()
        except UnavailableError as error:
            raise NodeUnavailableError(
                "the lease token cannot be checked: the orchestrator does not hand out its keys;"
                " try again, or pin them",
                causes=(error,),
            ) from error
        except OnexError as error:
            raise NodeUnavailableError(
                f"the lease token cannot be checked: ListKeys failed: {error.message}",
                causes=(error,),
            ) from error
        self._keys = {key.kid: _public_key(key.kid, key.ed25519) for key in answer.keys}
        self._fetched_at = self._clock()


def _public_key(kid: str, raw: bytes) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(raw)
    except ValueError:
        raise ConfigurationError(
            f"lease key {kid!r} is not an Ed25519 public key; give its 32 raw bytes"
        ) from None
