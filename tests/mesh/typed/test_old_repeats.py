"""Repeats that come when their record may be gone: over sockets and in process, by both doors."""

from __future__ import annotations

import time
import uuid
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import grpc
import pytest
from lab.v1 import post_pb2
from lab.v1.post_onex import PostClient, PostIntents
from ledger.v1 import ledger_pb2
from ledger.v1.ledger_onex import LEDGER, LedgerClient

from onex.v1 import (
    compute_pb2,
    compute_pb2_grpc,
    effect_pb2,
    effect_pb2_grpc,
    node_pb2,
    reducer_pb2,
    reducer_pb2_grpc,
)
from onex_grpc.context import CallContext, current_call, enter_call
from onex_grpc.contract.data import pack, unpack_as
from onex_grpc.errors import AlreadyExistsError, OutcomeUnknownError
from onex_grpc.node.compute import NodeCompute
from onex_grpc.rpc import Mesh
from onex_grpc.serve.settings import RetentionSettings, Settings
from onex_grpc.store import PurgePosition, Store
from onex_grpc.testing.mesh import LocalMesh
from onex_grpc.typed.intent import model_intent
from tests.mesh.typed.lab_nodes import Post
from tests.mesh.typed.lab_serving import serving
from tests.mesh.typed.ledger_nodes import Ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from onex_grpc.compute import AlgorithmRegistry, ComputeInput

DAY: Final = 86_400


class Doors:
    """A reducer and an effect node, and who calls them."""

    def __init__(self, ledger: Ledger, reducer: Mesh, post: Post, effect: Mesh) -> None:
        self.post = post
        self.store = ledger.container.get_service(Store)
        self.ledger = LedgerClient(reducer)
        self.reducer = reducer.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
        self.letters = PostClient(effect)
        self.effect = effect.stub(effect_pb2_grpc.EffectNodeServiceStub, "effect")

    async def version(self, key: str) -> int:
        enter_call(CallContext(new_id()))
        found = await self.reducer.GetState(reducer_pb2.GetStateRequest(state_key=key))
        return found.version


async def doors_over(kind: str, folder: Path, settings: Settings, stack: AsyncExitStack) -> Doors:
    if kind == "local":
        mesh = LocalMesh([Ledger, Post], settings=settings, state=folder)
        await stack.enter_async_context(mesh)
        return Doors(mesh.node(Ledger), mesh.mesh, mesh.node(Post), mesh.mesh)
    ledger = await stack.enter_async_context(serving(Ledger, folder / "ledger", settings))
    post = await stack.enter_async_context(serving(Post, folder / "post", settings))
    return Doors(ledger.node, ledger.mesh, post.node, post.mesh)


@pytest.fixture(params=["socket", "local"])
async def doors(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Doors]:
    async with AsyncExitStack() as stack:
        yield await doors_over(request.param, tmp_path, Settings(), stack)


def new_id() -> str:
    return str(uuid.uuid4())


def us_ago(days: float) -> int:
    return time.time_ns() // 1000 - round(days * DAY * 1_000_000)


def acting(action_id: str, days: float = 0.0) -> None:
    """Calls from now on are of an action, a repeat where days are given."""
    issued_us = us_ago(days) if days else 0
    enter_call(CallContext(new_id(), action_id=action_id, issued_us=issued_us))


def book(key: str, amount: int = 1) -> ledger_pb2.BookRequest:
    return ledger_pb2.BookRequest(account_id=key, amount=amount)


def reduction(key: str, amount: int = 1, action_id: str = "") -> reducer_pb2.ModelContractReducer:
    return reducer_pb2.ModelContractReducer(
        action_id=action_id,
        reduction_config=reducer_pb2.ReductionConfig(state_key=key),
        input_data=reducer_pb2.ReducerInput(action="Book", payload=pack(book(key, amount))),
    )


def letter(text: str, key: str = "") -> effect_pb2.ModelContractEffect:
    made = effect_pb2.ModelContractEffect()
    made.io_operation_config.operation.custom.Pack(post_pb2.SendRequest(text=text))
    made.io_operation_config.idempotency_key = key
    return made


async def test_a_reducer_without_a_record_refuses_an_old_repeat_and_writes_nothing(
    doors: Doors,
) -> None:
    own = new_id()
    acting(own, days=40)
    with pytest.raises(
        OutcomeUnknownError, match=rf"{own} .*40 days.*30 days.*actions.*new action"
    ):
        await doors.ledger.book(book("k"))
    acting(new_id(), days=40)
    with pytest.raises(OutcomeUnknownError):
        await doors.reducer.ExecuteReduction(reduction("k"))
    with pytest.raises(OutcomeUnknownError):
        await doors.reducer.ExecuteReduction(reduction("k", action_id=new_id()))
    with pytest.raises(OutcomeUnknownError):
        _ = [each async for each in doors.reducer.StreamReduction(iter([reduction("k")]))]
    with pytest.raises(OutcomeUnknownError):
        await doors.ledger.book_all([ledger_pb2.BookAllRequest(account_id="k", amount=1)])
    assert await doors.version("k") == 0
    assert not await doors.store.list_actions("reducer/ledger", 0, 10)


async def test_a_reducer_with_a_record_answers_from_it_however_old(doors: Doors) -> None:
    own = new_id()
    acting(own)
    first = await doors.ledger.book(book("k"))
    streamed = new_id()
    acting(streamed)
    outputs = [each async for each in doors.reducer.StreamReduction(iter([reduction("k")]))]

    acting(own, days=4000)
    assert await doors.ledger.book(book("k")) == first
    again = await doors.reducer.ExecuteReduction(reduction("k"))
    assert unpack_as(again.responses[0], ledger_pb2.BookResponse) == first
    with pytest.raises(AlreadyExistsError):
        await doors.ledger.book(book("k", amount=2))
    acting(streamed, days=40)
    repeated = [each async for each in doors.reducer.StreamReduction(iter([reduction("k")]))]
    assert repeated == outputs
    assert await doors.version("k") == 2


@pytest.mark.parametrize("days", [1 / DAY, 28, -40])
async def test_a_repeat_that_must_be_on_record_is_carried_out(doors: Doors, days: float) -> None:
    acting(new_id(), days=days)
    assert (await doors.ledger.book(book("k"))).balance == 1
    acting(new_id(), days=days)
    assert (await doors.letters.send(post_pb2.SendRequest(text="a"))).number == 1


async def test_the_time_of_a_repeat_is_that_of_its_first_sending(doors: Doors) -> None:
    own, issued_us = new_id(), us_ago(3)
    enter_call(CallContext(new_id(), action_id=own, issued_us=issued_us))
    await doors.ledger.book(book("k"))
    recorded = await doors.store.find_action("reducer/ledger", own)
    assert recorded is not None
    assert recorded.issued_us == issued_us


async def test_an_old_time_that_an_author_gives_is_no_repeat(doors: Doors) -> None:
    """Old data is brought in with the times at which it came to be."""
    for days in (0.0, 3.0):
        acting(new_id(), days=days)
        imported = reduction(f"k{days}", action_id=new_id())
        imported.issued_at.FromSeconds(1)
        await doors.reducer.ExecuteReduction(imported)
        assert await doors.version(f"k{days}") == 1


async def test_an_effect_without_a_record_refuses_an_old_repeat(doors: Doors) -> None:
    acting(new_id(), days=40)
    with pytest.raises(OutcomeUnknownError, match=r"40 days.*30 days.*outcomes.*new action"):
        await doors.letters.send(post_pb2.SendRequest(text="a"))
    with pytest.raises(OutcomeUnknownError, match="order-1"):
        await doors.effect.ExecuteEffect(letter("a", "order-1"))
    with pytest.raises(OutcomeUnknownError):
        _ = [each async for each in doors.effect.ExecuteEffectStream(iter([letter("a", "o")]))]
    wish = PostIntents.send(post_pb2.SendRequest(text="a"))
    intent = model_intent(wish, ["lab.v1.PostService/Send"])
    intent.intent_id = new_id()
    request = effect_pb2.ExecuteIntentsRequest(intents=[intent])
    (result,) = [each async for each in doors.effect.ExecuteIntents(request)]
    assert result.error.reason == "OUTCOME_UNKNOWN"
    assert doors.post.sent == []


async def test_an_effect_with_a_record_answers_from_it(doors: Doors) -> None:
    own = new_id()
    acting(own)
    first = await doors.letters.send(post_pb2.SendRequest(text="a"))
    await doors.effect.ExecuteEffect(letter("b", "order-1"))
    acting(own, days=40)
    assert await doors.letters.send(post_pb2.SendRequest(text="a")) == first
    again = await doors.effect.ExecuteEffect(letter("b", "order-1"))
    assert again.metadata.replayed
    assert doors.post.sent == ["a", "b"]


async def test_an_idempotent_effect_is_done_again(doors: Doors) -> None:
    acting(new_id(), days=40)
    assert (await doors.letters.flaky(post_pb2.FlakyRequest())).attempts == 1


async def test_a_call_of_another_action_is_no_repeat(doors: Doors) -> None:
    """The time goes where the action's id goes: to its own calls, and to no other action's."""
    acting(new_id(), days=40)
    call = current_call()
    assert call is not None
    with pytest.raises(OutcomeUnknownError):
        await doors.reducer.ExecuteReduction(reduction("k"))
    other = (("onex-action-id", new_id()),)
    await doors.reducer.ExecuteReduction(reduction("k"), metadata=other)
    repeat = (*other, ("onex-issued-at", str(call.issued_us)))
    await doors.reducer.ExecuteReduction(reduction("k"), metadata=repeat)
    assert await doors.version("k") == 1


class Relay(NodeCompute):
    """Calls an effect node on behalf of the action that it computes for, or of a new one."""

    descriptor = node_pb2.NodeDescriptor(name="relay", version="1.0.0")

    def register_algorithms(self, registry: AlgorithmRegistry) -> None:
        registry.register("same", self._same)
        registry.register("other", self._other)

    async def _same(self, given: ComputeInput) -> str:
        return await self._send()

    async def _other(self, given: ComputeInput) -> str:
        return await self._send(metadata=(("onex-action-id", new_id()),))

    async def _send(self, metadata: tuple[tuple[str, str], ...] = ()) -> str:
        mesh = self.container.get_service(Mesh)
        stub = mesh.stub(effect_pb2_grpc.EffectNodeServiceStub, "effect")
        await stub.ExecuteEffect(letter("a", new_id()), metadata=metadata)
        return "sent"


async def test_calls_on_behalf_of_an_old_repeat_are_old_repeats(tmp_path: Path) -> None:
    """A node between, which keeps no records, does not make a first sending of it."""
    async with LocalMesh([Relay, Post], state=tmp_path) as mesh:
        relay = mesh.stub(compute_pb2_grpc.ComputeNodeServiceStub, "compute")
        acting(new_id(), days=40)
        wish = compute_pb2.ModelContractCompute()
        wish.input_data.value.string_value = "x"
        wish.algorithm_config.algorithm_type = "same"
        with pytest.raises(OutcomeUnknownError):
            await relay.ExecuteCompute(wish)
        wish.algorithm_config.algorithm_type = "other"
        await relay.ExecuteCompute(wish)
        assert mesh.node(Post).sent == ["a"]


@pytest.mark.parametrize("kind", ["socket", "local"])
@pytest.mark.parametrize(
    ("retention", "days", "is_refused"),
    [
        (0, 4000, False),
        (10 * DAY, 9.1, True),
        (10 * DAY, 8.9, False),
        (DAY, 0.6, True),
        (DAY, 0.4, False),
        (1, 1 / DAY, True),
    ],
)
async def test_what_is_old_follows_from_the_settings(
    tmp_path: Path, kind: str, retention: float, days: float, is_refused: bool
) -> None:
    settings = Settings(retention=RetentionSettings(actions=retention, outcomes=retention))
    async with AsyncExitStack() as stack:
        doors = await doors_over(kind, tmp_path, settings, stack)
        acting(new_id(), days=days)
        refusals = []
        for send in (
            doors.ledger.book(book("k")),
            doors.letters.send(post_pb2.SendRequest(text="a")),
        ):
            try:
                await send
            except OutcomeUnknownError as error:
                refusals.append(error)
        assert len(refusals) == (2 if is_refused else 0)


async def test_what_was_removed_for_good_is_not_done_again(tmp_path: Path) -> None:
    settings = Settings(retention=RetentionSettings(actions=0.2, outcomes=0.2))
    own, issued_us = new_id(), us_ago(0)
    async with AsyncExitStack() as stack:
        doors = await doors_over("socket", tmp_path, settings, stack)
        acting(own)
        await doors.ledger.book(book("k"))
        await doors.letters.send(post_pb2.SendRequest(text="a"))
        # The newest of the records stays in any case.
        acting(new_id())
        await doors.ledger.book(book("k"))
        letters = doors.post.container.get_service(Store)
        while (
            await doors.store.find_action("reducer/ledger", own) is not None
            or await letters.find_outcome(f"effect//{own}") is not None
        ):
            for store in (doors.store, letters):
                await store.purge(settings.retention.rules(), PurgePosition(), 100)
        enter_call(CallContext(new_id(), action_id=own, issued_us=issued_us))
        with pytest.raises(OutcomeUnknownError):
            await doors.ledger.book(book("k"))
        with pytest.raises(OutcomeUnknownError):
            await doors.letters.send(post_pb2.SendRequest(text="a"))
        assert await doors.version("k") == 2
        assert doors.post.sent == ["a"]


async def test_a_malformed_time_is_refused_by_name(tmp_path: Path) -> None:
    """As a client in another language sends it."""
    async with (
        serving(Ledger, tmp_path) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
        call = channel.unary_unary(f"/{LEDGER.service}/Book")
        raw = book("k").SerializeToString()
        own = ("onex-action-id", new_id())
        for metadata in (
            (own, ("onex-issued-at", "yesterday")),
            (own, ("onex-issued-at", "9" * 18)),
            (("onex-issued-at", "1"),),
        ):
            with pytest.raises(grpc.aio.AioRpcError, match="onex-issued-at") as refused:
                await call(raw, metadata=metadata)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        with pytest.raises(grpc.aio.AioRpcError) as old:
            await call(raw, metadata=(own, ("onex-issued-at", str(us_ago(40)))))
        assert old.value.code() is grpc.StatusCode.UNKNOWN
        await call(raw, metadata=(own, ("onex-issued-at", str(us_ago(1)))))
