"""A generated effect node through both doors and by intents: four forms, keys, repeats, fences."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import uuid
from contextlib import aclosing, closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import pytest
import pytest_asyncio
from google.protobuf.message import Message
from lab.v1 import post_pb2
from lab.v1.post_onex import PostClient, PostIntents

from onex.v1 import effect_pb2, effect_pb2_grpc, intent_pb2
from onex_grpc.context import CallContext, enter_call
from onex_grpc.contract.data import unpack_as
from onex_grpc.errors import (
    AlreadyExistsError,
    ContractValidationError,
    DeadlineExceededError,
    LeaseRequiredError,
    NodeUnavailableError,
    OperationRefusedError,
    OutcomeUnknownError,
    UnavailableError,
)
from onex_grpc.rpc import Mesh
from onex_grpc.serve.settings import Settings
from onex_grpc.testing.process import NodeProcess
from onex_grpc.typed.intent import model_intent
from tests.mesh.typed.lab_nodes import Post
from tests.mesh.typed.lab_serving import Served, gather, serving

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

SERVICE: Final = "lab.v1.PostService"
ROOT: Final = Path(__file__).parents[3]
PATHS: Final = (ROOT, ROOT / "generated", ROOT / "tests/mesh/typed/generated")
ENVIRONMENT: Final = {"PYTHONPATH": os.pathsep.join(str(path) for path in PATHS)}
ACTION: Final = "0198c0de-0000-7000-8000-0000000000a1"
SETTINGS: Final = """
[targets.journal]
kind = "sqlite"
path = "journal.db"
schema = "lines.sql"
allow = ["write"]
tables = {lines = ["text"]}

[targets.archive]
kind = "sqlite"
path = "archive.db"
schema = "lines.sql"
allow = ["write"]
tables = {lines = ["text"]}
"""
M = TypeVar("M", bound=Message)


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncGenerator[Served[Post], None]:
    async with serving(Post, tmp_path) as served:
        yield served


@pytest.fixture
def client(served: Served[Post]) -> PostClient:
    return PostClient(served.mesh)


@pytest.fixture
def generic(served: Served[Post]) -> effect_pb2_grpc.EffectNodeServiceStub:
    return generic_of(served.mesh)


def generic_of(mesh: Mesh) -> effect_pb2_grpc.EffectNodeServiceStub:
    stub: effect_pb2_grpc.EffectNodeServiceStub = mesh.stub(
        effect_pb2_grpc.EffectNodeServiceStub, "effect"
    )
    return stub


def contract(request: Message, key: str = "") -> effect_pb2.ModelContractEffect:
    made = effect_pb2.ModelContractEffect()
    made.io_operation_config.operation.custom.Pack(request)
    made.io_operation_config.idempotency_key = key
    return made


async def stream(
    generic: effect_pb2_grpc.EffectNodeServiceStub,
    response: type[M],
    *contracts: effect_pb2.ModelContractEffect,
) -> list[M]:
    answers = generic.ExecuteEffectStream(iter(contracts))
    return [unpack_as(output.operation_result, response) async for output in answers]


def acting(action_id: str = ACTION) -> None:
    enter_call(CallContext(str(uuid.uuid4()), action_id=action_id))


async def test_unary_by_both_doors(
    client: PostClient, generic: effect_pb2_grpc.EffectNodeServiceStub
) -> None:
    letter = post_pb2.SendRequest(text="hello")
    assert (await client.send(letter)).number == 1
    output = await generic.ExecuteEffect(contract(letter))
    assert unpack_as(output.operation_result, post_pb2.SendResponse).number == 2


async def test_server_stream_by_both_doors(
    client: PostClient, generic: effect_pb2_grpc.EffectNodeServiceStub
) -> None:
    news = post_pb2.FollowRequest(count=2)
    assert [each.text async for each in client.follow(news)] == ["news 0", "news 1"]
    found = await stream(generic, post_pb2.FollowResponse, contract(news))
    assert [each.text for each in found] == ["news 0", "news 1"]


async def test_client_stream_by_both_doors(
    client: PostClient, generic: effect_pb2_grpc.EffectNodeServiceStub
) -> None:
    letters = [post_pb2.CollectRequest(text=text) for text in ("a", "b")]
    assert (await client.collect(letters)).text == "a b"
    assert (await client.collect([])).text == ""
    found = await stream(generic, post_pb2.CollectResponse, *map(contract, letters))
    assert [each.text for each in found] == ["a b"]


async def test_bidi_by_both_doors(
    client: PostClient, generic: effect_pb2_grpc.EffectNodeServiceStub
) -> None:
    questions = [post_pb2.ChatRequest(text=text) for text in ("a", "b")]
    assert [each.text async for each in client.chat(questions)] == ["a!", "b!"]
    found = await stream(generic, post_pb2.ChatResponse, *map(contract, questions))
    assert [each.text for each in found] == ["a!", "b!"]


async def test_a_unary_rpc_through_the_streaming_door_is_done_in_turn(
    generic: effect_pb2_grpc.EffectNodeServiceStub,
) -> None:
    letters = [contract(post_pb2.SendRequest(text=text), f"key-{text}") for text in ("a", "b")]
    found = await stream(generic, post_pb2.SendResponse, *letters, letters[0])
    assert [(each.number, each.key) for each in found] == [
        (1, "key-a"), (2, "key-b"), (1, "key-a"),
    ]  # fmt: skip


async def test_what_the_doors_refuse(
    generic: effect_pb2_grpc.EffectNodeServiceStub,
) -> None:
    chat = contract(post_pb2.ChatRequest())
    other = contract(post_pb2.CollectRequest())
    for request in (post_pb2.ChatRequest(), post_pb2.SendRequest()):
        damaged = contract(request)
        damaged.io_operation_config.operation.custom.value = b"\xff"
        with pytest.raises(ContractValidationError, match=r"operation\.custom: .* were they cut"):
            await stream(generic, post_pb2.ChatResponse, damaged)
    with pytest.raises(ContractValidationError, match="all requests of a stream are of one type"):
        await stream(generic, post_pb2.ChatResponse, chat, other)
    with pytest.raises(ContractValidationError, match="no request came"):
        await stream(generic, post_pb2.ChatResponse)
    with pytest.raises(ContractValidationError, match="an operation with a stream is not recorded"):
        await stream(generic, post_pb2.ChatResponse, contract(post_pb2.ChatRequest(), "key"))
    repeated = contract(post_pb2.ChatRequest())
    repeated.retry_config.max_retries = 1
    with pytest.raises(ContractValidationError, match="is never repeated"):
        await stream(generic, post_pb2.ChatResponse, repeated)
    with pytest.raises(OperationRefusedError, match="call ExecuteEffectStream"):
        await generic.ExecuteEffect(chat)
    with pytest.raises(OperationRefusedError, match="no operation for messages of type"):
        await stream(generic, post_pb2.ChatResponse, contract(post_pb2.ChatResponse()))
    builtin = effect_pb2.ModelContractEffect()
    builtin.io_operation_config.operation.message.event_type = "E"
    builtin.external_service_config.service_name = "t"
    with pytest.raises(ContractValidationError, match="call ExecuteEffect for it"):
        await stream(generic, post_pb2.ChatResponse, builtin)


async def test_the_action_is_the_key(client: PostClient, served: Served[Post]) -> None:
    acting()
    letter = post_pb2.SendRequest(text="once")
    first, again = await client.send(letter), await client.send(letter)
    assert first == again
    assert (first.number, first.key) == (1, ACTION)
    with pytest.raises(AlreadyExistsError, match="take a new key"):
        await client.send(post_pb2.SendRequest(text="another"))
    assert served.node.sent == ["once"]


async def test_both_doors_have_one_record(
    client: PostClient, generic: effect_pb2_grpc.EffectNodeServiceStub
) -> None:
    letter = post_pb2.SendRequest(text="once")
    output = await generic.ExecuteEffect(contract(letter, ACTION))
    acting()
    again = await client.send(letter)
    assert unpack_as(output.operation_result, post_pb2.SendResponse) == again


async def test_a_node_may_ask_for_several_effects_in_one_action(served: Served[Post]) -> None:
    mesh = served.caller("compute/numbers")
    acting()
    try:
        client = PostClient(mesh)
        for text in ("a", "b", "a"):
            await client.send(post_pb2.SendRequest(text=text))
    finally:
        await mesh.close()
    assert served.node.sent == ["a", "b"]


async def test_repeats_of_the_contract_by_both_doors(
    client: PostClient, generic: effect_pb2_grpc.EffectNodeServiceStub, served: Served[Post]
) -> None:
    assert (await client.flaky(post_pb2.FlakyRequest(failures=2))).attempts == 3
    served.node.tries = 0
    output = await generic.ExecuteEffect(contract(post_pb2.FlakyRequest(failures=3)))
    assert output.metadata.attempts == 4
    served.node.tries = 0
    with pytest.raises(UnavailableError, match="not yet"):
        await client.flaky(post_pb2.FlakyRequest(failures=9))
    served.node.tries = 0
    own = contract(post_pb2.FlakyRequest(failures=9))
    own.retry_config.SetInParent()
    with pytest.raises(UnavailableError, match="not yet"):
        await generic.ExecuteEffect(own)
    assert served.node.tries == 1


async def test_the_time_of_the_contract_by_both_doors(
    client: PostClient, generic: effect_pb2_grpc.EffectNodeServiceStub
) -> None:
    with pytest.raises(OutcomeUnknownError, match="look at the target before you repeat it"):
        await client.stuck(post_pb2.StuckRequest(), timeout=20)
    with pytest.raises(OutcomeUnknownError, match="look at the target before you repeat it"):
        await generic.ExecuteEffect(contract(post_pb2.StuckRequest()))


async def test_the_deadline_of_the_call_reaches_the_effect(
    client: PostClient, served: Served[Post]
) -> None:
    with pytest.raises((OutcomeUnknownError, DeadlineExceededError)):
        await client.stuck(post_pb2.StuckRequest(), timeout=0.05)
    with pytest.raises(DeadlineExceededError):
        await gather(client.follow(post_pb2.FollowRequest(), timeout=0.05), [])
    async with asyncio.timeout(5):
        await served.node.released.wait()


async def test_a_lease_may_be_required_at_the_typed_door(tmp_path: Path) -> None:
    async with serving(Post, tmp_path, Settings(require_lease=True)) as served:
        with pytest.raises(LeaseRequiredError, match="PostService/Send needs a lease here"):
            await PostClient(served.mesh).send(post_pb2.SendRequest())


async def test_a_stream_whose_handler_fails_has_an_unknown_outcome(client: PostClient) -> None:
    found: list[post_pb2.FollowResponse] = []
    with pytest.raises(OutcomeUnknownError, match="see the node's log"):
        await gather(client.follow(post_pb2.FollowRequest(count=2, fail=True)), found)
    assert [each.text for each in found] == ["news 0", "news 1"]


async def test_leaving_a_stream_ends_it_at_the_node(
    client: PostClient, served: Served[Post], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "onex_grpc.audit")
    async with aclosing(client.follow(post_pb2.FollowRequest())) as news:
        await anext(news)
    async with asyncio.timeout(5):
        await served.node.released.wait()
    assert [each["outcome"] for each in audited(caplog)] == ["CANCELLED"]


async def test_streams_are_audited(client: PostClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "onex_grpc.audit")
    await client.collect([post_pb2.CollectRequest(text="secret")])
    [record] = audited(caplog)
    assert (record["outcome"], record["attempts"], record["operation"]) == ("OK", 1, "custom")
    assert "secret" not in str(record)


def audited(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    return [vars(each) for each in caplog.records if each.name == "onex_grpc.audit"]


def intent(request: post_pb2.SendRequest) -> intent_pb2.ModelIntent:
    made = model_intent(PostIntents.send(request), [f"{SERVICE}/Send"])
    made.intent_id = str(uuid.uuid4())
    return made


async def test_intents_are_executed_once(
    generic: effect_pb2_grpc.EffectNodeServiceStub, served: Served[Post]
) -> None:
    wish = intent(post_pb2.SendRequest(text="wished"))
    request = effect_pb2.ExecuteIntentsRequest(intents=[wish])
    for _ in range(2):
        [result] = [each async for each in generic.ExecuteIntents(request)]
        assert result.status == intent_pb2.INTENT_STATUS_COMPLETED
        sent = unpack_as(result.result, post_pb2.SendResponse)
        assert (sent.number, sent.key) == (1, wish.intent_id)
    assert served.node.sent == ["wished"]


@pytest.mark.parametrize("crash", ["after-one", "after-all"])
async def test_operations_happen_once_whenever_the_process_dies(tmp_path: Path, crash: str) -> None:
    (tmp_path / "onex.toml").write_text(SETTINGS)
    (tmp_path / "lines.sql").write_text("CREATE TABLE IF NOT EXISTS lines(text TEXT)")
    acting()
    note = post_pb2.NoteRequest(name="n", crash=crash)
    for attempt in (1, 2):
        process = NodeProcess(
            "tests.mesh.typed.lab_nodes:Post", folder=tmp_path, environment=ENVIRONMENT
        )
        async with process:
            mesh = Mesh({"effect": process.address})
            client = PostClient(mesh)
            try:
                if attempt == 1:
                    with pytest.raises(NodeUnavailableError):
                        await client.note(note)
                    await process.wait()
                else:
                    first, again = await client.note(note), await client.note(note)
                    assert first.attempt == again.attempt == 2
            finally:
                await mesh.close()
    assert lines(tmp_path / "journal.db") == ["n begins", "n ends"]
    assert lines(tmp_path / "archive.db") == ["n"]


def lines(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        return [row[0] for row in connection.execute("SELECT text FROM lines")]
