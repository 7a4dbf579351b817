"""Tokens, their keys and their admission."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import jwt
import pytest

from onex.v1 import lease_pb2
from onex_grpc.context import CallContext, LeaseClaim
from onex_grpc.errors import (
    ConfigurationError,
    LeaseExpiredError,
    LeaseRequiredError,
    LeaseValidationError,
    NodeUnavailableError,
    StaleFenceError,
)
from onex_grpc.lease.admission import LeaseAdmission, require_lease
from onex_grpc.lease.fences import FenceMemory
from onex_grpc.lease.keys import PinnedKeys, RemoteKeys, SigningKey
from onex_grpc.lease.settings import LeaseSettings
from onex_grpc.lease.token import LeaseClaims, sign_token, verify_token
from onex_grpc.lease.verifier import TokenVerifier
from onex_grpc.rpc.calls import Method
from onex_grpc.store.model import LeaseGrant

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = SigningKey.of(bytes(range(32)))
OTHER = SigningKey.of(bytes(32))
NOW = 1_700_000_000.0
COMPUTE = Method("/onex.v1.ComputeNodeService/ExecuteCompute")


def grant(fence: int = 5, workflow_id: str = "w", lease_id: str = "") -> LeaseGrant:
    return LeaseGrant(
        workflow_id=workflow_id,
        lease_id=lease_id or str(uuid.UUID(int=fence)),
        fence=fence,
        holder="orchestrator/main",
        ttl_us=30_000_000,
        remaining_us=30_000_000,
        epoch=0,
    )


def claim(fence: int = 5) -> LeaseClaim:
    one = grant(fence)
    return LeaseClaim(one.workflow_id, one.lease_id, one.fence, sign_token(KEY, one, NOW))


def call(lease: LeaseClaim | None) -> CallContext:
    return CallContext(correlation_id=str(uuid.uuid4()), lease=lease)


def admission(keys: PinnedKeys | RemoteKeys | None = None, now: float = NOW) -> LeaseAdmission:
    verifier = TokenVerifier(keys or PinnedKeys.of(KEY))
    return LeaseAdmission(verifier, leeway=5.0, clock=lambda: now)


def test_a_token_says_what_was_signed() -> None:
    token = sign_token(KEY, grant(), NOW)
    assert jwt.get_unverified_header(token)["alg"] == "EdDSA"
    public = KEY.private.public_key()
    assert verify_token(token, public) == LeaseClaims(
        "w", grant().lease_id, 5, "orchestrator/main", int(NOW) + 30
    )


def _with_claim(name: str, value: object) -> str:
    head, body, signature = sign_token(KEY, grant(), NOW).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims[name] = value
    changed = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{head}.{changed}.{signature}"


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(_with_claim("fnc", 6), id="altered"),
        pytest.param(_with_claim("exp", 2**40), id="prolonged"),
        pytest.param(sign_token(replace(OTHER, kid=KEY.kid), grant(), NOW), id="forged"),
        pytest.param(sign_token(OTHER, grant(), NOW), id="unknown key"),
        pytest.param("a.b.c", id="no jwt"),
        pytest.param(jwt.encode({"sub": "w"}, "", algorithm="none"), id="unsigned"),
        pytest.param(
            jwt.encode({"sub": "w"}, KEY.private, algorithm="EdDSA", headers={"kid": KEY.kid}),
            id="claims missing",
        ),
        pytest.param(
            jwt.encode({"sub": "w"}, b"x" * 32, algorithm="HS256", headers={"kid": KEY.kid}),
            id="other algorithm",
        ),
    ],
)
async def test_a_token_that_is_not_genuine_is_refused(token: str) -> None:
    lease = replace(claim(), token=token)
    with pytest.raises(LeaseValidationError):
        await _admit(admission(), lease)


@pytest.mark.parametrize(
    "stated",
    [
        replace(claim(), workflow_id="v"),
        replace(claim(), lease_id=str(uuid.uuid4())),
        replace(claim(), fence=6),
    ],
)
def test_the_token_must_be_that_of_the_headers(stated: LeaseClaim) -> None:
    with pytest.raises(LeaseValidationError):
        admission()(call(stated), COMPUTE)


def test_unleased_calls_are_admitted() -> None:
    assert admission()(call(None), COMPUTE) is None


def test_a_node_may_require_a_lease_for_its_own_service() -> None:
    with pytest.raises(LeaseRequiredError):
        require_lease(call(None), COMPUTE)
    require_lease(call(claim()), COMPUTE)
    require_lease(call(None), Method("/onex.v1.NodeService/DescribeNode"))


def test_expiry_is_judged_on_every_use() -> None:
    now = [NOW]
    check = LeaseAdmission(TokenVerifier(PinnedKeys.of(KEY)), leeway=5.0, clock=lambda: now[0])
    lease = claim()
    assert check(call(lease), COMPUTE) is None
    now[0] = NOW + 35
    assert check(call(lease), COMPUTE) is None
    now[0] = NOW + 35.1
    with pytest.raises(LeaseExpiredError):
        check(call(lease), COMPUTE)


def test_a_lower_fence_is_stale_and_an_equal_one_of_another_lease_is_not_genuine() -> None:
    check = admission()
    check(call(claim(5)), COMPUTE)
    check(call(claim(6)), COMPUTE)
    with pytest.raises(StaleFenceError):
        check(call(claim(5)), COMPUTE)
    twin = grant(6, lease_id=str(uuid.uuid4()))
    token = sign_token(KEY, twin, NOW)
    with pytest.raises(LeaseValidationError):
        check(call(LeaseClaim("w", twin.lease_id, 6, token)), COMPUTE)


def test_a_stale_fence_is_told_from_an_expired_token() -> None:
    now = [NOW]
    check = LeaseAdmission(TokenVerifier(PinnedKeys.of(KEY)), leeway=0, clock=lambda: now[0])
    check(call(claim(6)), COMPUTE)
    now[0] = NOW + 100
    with pytest.raises(StaleFenceError):
        check(call(claim(5)), COMPUTE)


def test_the_memory_of_fences_is_bounded() -> None:
    memory = FenceMemory(capacity=2)
    for workflow_id in ("a", "b", "c"):
        memory.observe(workflow_id, 5, "x")
    memory.observe("a", 4, "x")
    with pytest.raises(StaleFenceError):
        memory.observe("c", 4, "x")


def test_verified_tokens_are_remembered_in_bounds() -> None:
    verifier = TokenVerifier(PinnedKeys.of(KEY), capacity=1)
    token = claim().token
    first = verifier.verify_now(token)
    assert verifier.verify_now(token) is first
    verifier.verify_now(claim(6).token)
    assert verifier.verify_now(token) is not first


class Orchestrator:
    """Answers ListKeys."""

    def __init__(self, *keys: SigningKey) -> None:
        self.keys = keys
        self.asked = 0
        self.away = False

    async def __call__(self) -> lease_pb2.ListKeysResponse:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise NodeUnavailableError("away")
        return lease_pb2.ListKeysResponse(keys=[key.public() for key in self.keys])


def _remote(orchestrator: Orchestrator) -> tuple[RemoteKeys, Callable[[float], None]]:
    now = [0.0]

    def advance(seconds: float) -> None:
        now[0] += seconds

    return RemoteKeys(orchestrator, clock=lambda: now[0]), advance


async def _admit(check: LeaseAdmission, lease: LeaseClaim) -> bool:
    """Whether the admission had to wait."""
    admitted = check(call(lease), COMPUTE)
    if admitted is not None:
        await admitted
    return admitted is not None


async def test_keys_are_asked_for_once() -> None:
    orchestrator = Orchestrator(KEY)
    check = admission(_remote(orchestrator)[0])
    assert all(await asyncio.gather(*(_admit(check, claim(5)) for _ in range(3))))
    assert not await _admit(check, claim(6))
    assert orchestrator.asked == 1


async def test_unknown_keys_are_asked_for_again_but_not_all_the_time() -> None:
    orchestrator = Orchestrator(OTHER)
    keys, advance = _remote(orchestrator)
    check = admission(keys)
    for _ in range(3):
        with pytest.raises(LeaseValidationError):
            await _admit(check, claim())
    assert orchestrator.asked == 1
    orchestrator.keys = (KEY, OTHER)
    advance(5.0)
    await _admit(check, claim())
    assert orchestrator.asked == 2


async def test_without_the_orchestrator_a_new_token_cannot_be_checked() -> None:
    orchestrator = Orchestrator(KEY)
    orchestrator.away = True
    check = admission(_remote(orchestrator)[0])
    with pytest.raises(NodeUnavailableError):
        await _admit(check, claim())
    orchestrator.away = False
    await _admit(check, claim())


async def test_a_failure_that_nobody_waits_for_any_more_is_not_reported_as_lost() -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def list_keys() -> lease_pb2.ListKeysResponse:
        asked.set()
        await answer.wait()
        raise NodeUnavailableError("away")

    lost: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
    keys = RemoteKeys(list_keys)
    waiting = asyncio.create_task(keys.fetch("kid"))
    await asked.wait()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    answer.set()
    for _ in range(3):
        await asyncio.sleep(0)
    del keys, waiting
    gc.collect()
    assert not lost


def test_pinned_keys_must_be_keys() -> None:
    with pytest.raises(ConfigurationError):
        PinnedKeys({"k": b"short"})


@pytest.mark.parametrize("wrong", [{"ttl": 4.0}, {"floor": 0.0}, {"leeway": -1.0}])
def test_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        LeaseSettings(**wrong)
