"""A generated reducer through both doors, over sockets: four forms, repeats, errors, intents."""

from __future__ import annotations

import asyncio
import os
import uuid
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
import pytest
import pytest_asyncio
from ledger.v1 import ledger_pb2
from ledger.v1.ledger_onex import LEDGER, LedgerClient, TallyClient

from onex.v1 import (
    intent_pb2,
    intent_pb2_grpc,
    node_pb2,
    node_pb2_grpc,
    reducer_pb2,
    reducer_pb2_grpc,
)
from onex_grpc.contract.data import pack, unpack_as
from onex_grpc.errors import (
    AlreadyExistsError,
    ContractValidationError,
    GuardRejectedError,
    NodeUnavailableError,
    OnexError,
    TransitionError,
)
from onex_grpc.rpc import Mesh
from onex_grpc.testing.process import NodeProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from google.protobuf.message import Message

pytestmark = pytest.mark.asyncio(loop_scope="module")

NODES: Final = "tests.mesh.typed.ledger_nodes"
ROOT: Final = Path(__file__).parents[3]
PATHS: Final = (ROOT, ROOT / "generated", ROOT / "tests/mesh/typed/generated")
ENVIRONMENT: Final = {"PYTHONPATH": os.pathsep.join(str(path) for path in PATHS)}
ID: Final = "0198c0de-0000-7000-8000-0000000000a1"
CORRELATION: Final = "0198c0de-0000-7000-8000-00000000000c"


def process(node: str, folder: Path) -> NodeProcess:
    return NodeProcess(f"{NODES}:{node}", folder=folder, environment=ENVIRONMENT)


class Doors:
    """A ledger that runs as a process, and its callers."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.mesh = Mesh({"reducer": address})
        self.client = LedgerClient(self.mesh)
        self.generic = self.mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")

    async def account(self, key: str) -> tuple[ledger_pb2.Account, int]:
        found = await self.generic.GetState(reducer_pb2.GetStateRequest(state_key=key))
        return unpack_as(found.state, ledger_pb2.Account), found.version

    async def intents(self) -> Sequence[intent_pb2.ModelIntent]:
        queue = self.mesh.stub(intent_pb2_grpc.IntentQueueServiceStub, "reducer")
        listed = await queue.ListIntents(
            intent_pb2.ListIntentsRequest(status=intent_pb2.INTENT_STATUS_PENDING)
        )
        return [each.intent for each in listed.intents]

    async def until_completed(self, least: int) -> None:
        """Returns when so many intents are completed."""
        queue = self.mesh.stub(intent_pb2_grpc.IntentQueueServiceStub, "reducer")
        while True:
            stats = await queue.GetQueueStats(intent_pb2.GetQueueStatsRequest())
            if stats.completed >= least:
                return
            await asyncio.sleep(0.005)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def doors(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Doors]:
    async with process("Ledger", tmp_path_factory.mktemp("ledger")) as ledger:
        doors = Doors(ledger.address)
        yield doors
        await doors.mesh.close()


def action(
    name: str, key: str, payload: Message | None = None, action_id: str = ""
) -> reducer_pb2.ModelContractReducer:
    made = reducer_pb2.ModelContractReducer(
        action_id=action_id,
        reduction_config=reducer_pb2.ReductionConfig(state_key=key),
        input_data=reducer_pb2.ReducerInput(action=name),
    )
    if payload is not None:
        made.input_data.payload.CopyFrom(pack(payload))
    return made


def book(key: str, amount: int, action_id: str = "") -> reducer_pb2.ModelContractReducer:
    request = ledger_pb2.BookRequest(account_id=key, amount=amount)
    return action("Book", key, request, action_id)


def amounts(key: str, *values: int) -> list[ledger_pb2.BookAllRequest]:
    return [ledger_pb2.BookAllRequest(account_id=key, amount=value) for value in values]


def exchanges(key: str, *values: int) -> list[ledger_pb2.ExchangeRequest]:
    return [ledger_pb2.ExchangeRequest(account_id=key, amount=value) for value in values]


def refused(error: pytest.ExceptionInfo[ContractValidationError]) -> list[str]:
    return [fault.field for fault in error.value.violations]


async def test_unary(doors: Doors) -> None:
    await doors.client.book(ledger_pb2.BookRequest(account_id="unary", amount=5))

    answer = await doors.client.book(ledger_pb2.BookRequest(account_id="unary", amount=-2))

    account, version = await doors.account("unary")
    assert (answer.balance, account.balance, version) == (3, 3, 2)


async def test_a_stream_of_requests_is_an_action_each(doors: Doors) -> None:
    answer = await doors.client.book_all(amounts("many", 1, 2, 3))

    account, version = await doors.account("many")
    assert (answer.balance, account.booked, version) == (6, 3, 3)


async def test_one_stream_may_book_several_accounts(doors: Doors) -> None:
    requests = amounts("left", 1) + amounts("right", 2) + amounts("left", 3)

    assert (await doors.client.book_all(requests)).balance == 4
    assert (await doors.account("right"))[0].balance == 2


async def test_a_stream_of_responses_is_one_action(doors: Doors) -> None:
    await doors.client.book(ledger_pb2.BookRequest(account_id="parts", amount=10))

    request = ledger_pb2.SplitRequest(account_id="parts", parts=3)
    parts = [part.amount async for part in doors.client.split(request)]

    account, version = await doors.account("parts")
    assert (parts, account.balance, version) == ([3, 3, 3], 1, 2)


async def test_no_response_at_all_is_a_stream_too(doors: Doors) -> None:
    request = ledger_pb2.SplitRequest(account_id="no parts", parts=0)

    assert [part async for part in doors.client.split(request)] == []
    assert (await doors.account("no parts"))[1] == 1


async def test_each_message_is_durable_before_its_responses_leave(doors: Doors) -> None:
    seen = []
    go_on = asyncio.Event()

    async def requests() -> AsyncIterator[ledger_pb2.ExchangeRequest]:
        for request in exchanges("coins", 2, 1):
            yield request
            await go_on.wait()

    async with aclosing(doors.client.exchange(requests())) as coins:
        async for coin in coins:
            account, version = await doors.account("coins")
            seen.append((coin.balance, account.balance, version))
            if len(seen) == 2:
                go_on.set()

    assert seen == [(2, 2, 1), (2, 2, 1), (3, 3, 2)]


async def test_the_first_refusal_ends_a_stream_and_leaves_what_was_before(doors: Doors) -> None:
    with pytest.raises(GuardRejectedError):
        await doors.client.book_all(amounts("refused", 5, -9, 1))

    account, version = await doors.account("refused")
    assert (account.balance, version) == (5, 1)


async def test_an_empty_stream_is_refused(doors: Doors) -> None:
    with pytest.raises(ContractValidationError, match="empty; send at least one message"):
        await doors.client.book_all([])
    with pytest.raises(ContractValidationError, match="empty; send at least one message"):
        await anext(doors.client.exchange([]))


@pytest.mark.parametrize("key", ["", "k" * 201, "k\0"])
async def test_a_request_needs_a_key(key: str, doors: Doors) -> None:
    with pytest.raises(ContractValidationError) as unary:
        await doors.client.book(ledger_pb2.BookRequest(account_id=key))
    with pytest.raises(ContractValidationError) as stream:
        await doors.client.book_all(amounts(key, 1))

    with pytest.raises(ContractValidationError) as generic:
        await doors.generic.ExecuteReduction(book(key, 1))

    assert refused(unary) == refused(stream) == ["account_id"]
    assert refused(generic) == ["reduction_config.state_key"]


async def test_refusals_have_the_same_reason_at_both_doors(doors: Doors) -> None:
    await doors.client.close(ledger_pb2.CloseRequest(account_id="closed"))

    with pytest.raises(TransitionError) as typed:
        await doors.client.book(ledger_pb2.BookRequest(account_id="closed", amount=1))
    with pytest.raises(TransitionError) as generic:
        await doors.generic.ExecuteReduction(book("closed", 1))

    assert typed.value.message == generic.value.message
    assert typed.value.node == "reducer/ledger"


async def test_the_generic_door_gives_what_the_typed_one_does(doors: Doors) -> None:
    output = await doors.generic.ExecuteReduction(book("generic", 4, ID))

    answer = unpack_as(output.responses[0], ledger_pb2.BookResponse)
    assert answer == ledger_pb2.BookResponse(balance=4, action_id=ID)
    assert unpack_as(output.aggregated_data, ledger_pb2.Account).balance == 4
    assert output.state_metadata.transition == "Book"
    assert output.state_metadata.new_state == "ACCOUNT_STATUS_OPEN"


async def test_a_request_that_only_has_a_key_may_be_left_out(doors: Doors) -> None:
    output = await doors.generic.ExecuteReduction(action("Close", "key only"))

    assert output.state_metadata.new_state == "ACCOUNT_STATUS_CLOSED"
    with pytest.raises(ContractValidationError, match="is nothing; a message of type"):
        await doors.generic.ExecuteReduction(action("Book", "key only"))


@pytest.mark.parametrize(
    ("contract", "path"),
    [
        (action("Borrow", "wrong"), "input_data.action"),
        (action("Book", "wrong", ledger_pb2.CloseRequest()), "input_data.payload"),
        (
            action("Book", "wrong", ledger_pb2.BookRequest(account_id="other")),
            "input_data.payload.account_id",
        ),
    ],
)
async def test_the_generic_door_refuses(
    contract: reducer_pb2.ModelContractReducer, path: str, doors: Doors
) -> None:
    with pytest.raises(ContractValidationError) as error:
        await doors.generic.ExecuteReduction(contract)

    assert refused(error) == [path]
    assert (await doors.account("wrong"))[1] == 0


async def test_stream_reduction_answers_each_action(doors: Doors) -> None:
    requests = [book("stream", 1), book("stream", 2), action("Close", "stream")]

    outputs = [each async for each in doors.generic.StreamReduction(iter(requests))]

    assert [each.state_metadata.version for each in outputs] == [1, 2, 3]
    assert [each.state_metadata.transition for each in outputs] == ["Book", "Book", "Close"]


async def test_stream_reduction_ends_with_the_first_refusal(doors: Doors) -> None:
    answered = asyncio.Event()

    async def requests() -> AsyncIterator[reducer_pb2.ModelContractReducer]:
        yield book("ended", 1)
        # gRPC may drop responses that were not read before an error came.
        await answered.wait()
        yield book("ended", -2)
        yield book("ended", 4)

    outputs = aiter(doors.generic.StreamReduction(requests()))

    assert (await anext(outputs)).state_metadata.version == 1
    answered.set()
    with pytest.raises(GuardRejectedError):
        await anext(outputs)
    assert (await doors.account("ended"))[0].balance == 1


def headers(action_id: str) -> tuple[tuple[str, str], ...]:
    return (("onex-action-id", action_id),)


def new_id() -> str:
    return str(uuid.uuid4())


def typed_book(
    channel: grpc.aio.Channel,
) -> grpc.aio.UnaryUnaryMultiCallable[ledger_pb2.BookRequest, ledger_pb2.BookResponse]:
    return channel.unary_unary(
        f"/{LEDGER.service}/Book",
        ledger_pb2.BookRequest.SerializeToString,
        ledger_pb2.BookResponse.FromString,
    )


async def test_an_action_id_in_the_header_makes_a_call_idempotent(doors: Doors) -> None:
    """The client in another language, which only knows gRPC, has it, too."""
    own = new_id()
    request = ledger_pb2.BookRequest(account_id="once", amount=7)
    async with grpc.aio.insecure_channel(doors.address) as channel:
        call = typed_book(channel)
        first = await call(request, metadata=headers(own))
        again = await call(request, metadata=headers(own))
        request.amount = 8
        with pytest.raises(grpc.aio.AioRpcError) as other:
            await call(request, metadata=headers(own))

    assert first == again == ledger_pb2.BookResponse(balance=7, action_id=own)
    assert other.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert (await doors.account("once"))[1] == 1


async def test_an_action_of_one_door_is_the_same_at_the_other(doors: Doors) -> None:
    own = new_id()
    contract = book("both", 7, own)
    contract.correlation_id = CORRELATION
    output = await doors.generic.ExecuteReduction(contract)
    request = ledger_pb2.BookRequest(account_id="both", amount=7)

    async with grpc.aio.insecure_channel(doors.address) as channel:
        answer = await typed_book(channel)(request, metadata=headers(own))

    assert answer == unpack_as(output.responses[0], ledger_pb2.BookResponse)
    assert (await doors.account("both"))[1] == 1


async def test_a_stream_that_is_sent_again_is_answered_from_the_record(doors: Doors) -> None:
    answers, own = [], new_id()
    async with grpc.aio.insecure_channel(doors.address) as channel:
        for _ in range(2):
            call: grpc.aio.StreamUnaryMultiCallable[
                ledger_pb2.BookAllRequest, ledger_pb2.BookAllResponse
            ] = channel.stream_unary(
                f"/{LEDGER.service}/BookAll",
                ledger_pb2.BookAllRequest.SerializeToString,
                ledger_pb2.BookAllResponse.FromString,
            )
            answers.append(await call(iter(amounts("again", 1, 2)), metadata=headers(own)))

    assert [each.balance for each in answers] == [3, 3]
    assert (await doors.account("again"))[1] == 2


async def test_intents_are_committed_as_the_effect_node_takes_them(doors: Doors) -> None:
    await doors.client.book(ledger_pb2.BookRequest(account_id="intent", amount=6))

    [intent] = [each for each in await doors.intents() if each.order_key == "intent"]

    assert intent.payload.custom.TypeName() == "ledger.v1.NoteRequest"
    assert intent.intent_type == intent_pb2.INTENT_TYPE_UNSPECIFIED
    assert (intent.target, intent.priority) == ("", intent_pb2.INTENT_PRIORITY_CRITICAL)
    assert intent.idempotency_key == intent.intent_id


async def test_the_node_says_what_its_contract_is(doors: Doors) -> None:
    stub = doors.mesh.stub(node_pb2_grpc.NodeServiceStub, "reducer")

    node = (await stub.DescribeNode(node_pb2.DescribeNodeRequest())).node

    assert node.contract.service == "ledger.v1.LedgerService"
    assert node.contract.fingerprint == LEDGER.fingerprint
    assert node.contract.state == "ledger.v1.Account"
    assert list(node.contract.emits) == ["ledger.v1.AuditService/Note"]
    assert {"Book", "ledger.v1.LedgerService/Book"} <= set(node.operations)
    assert "ledger.v1.LedgerService" in node.services


async def test_a_call_that_has_no_time_left_books_nothing(doors: Doors) -> None:
    with pytest.raises(OnexError):
        await doors.client.book(ledger_pb2.BookRequest(account_id="late", amount=1), timeout=0.0)

    assert (await doors.account("late"))[1] == 0


async def test_what_was_committed_before_a_crash_is_answered_after_it(tmp_path: Path) -> None:
    contract = book("crash", 9, ID)
    contract.correlation_id = CORRELATION
    dying = process("DyingLedger", tmp_path)
    async with dying:
        doors = Doors(dying.address)
        with pytest.raises(NodeUnavailableError):
            await doors.generic.ExecuteReduction(contract)
        await dying.wait()
        await doors.mesh.close()

    async with process("DyingLedger", tmp_path) as risen:
        doors = Doors(risen.address)
        again = await doors.generic.ExecuteReduction(contract)
        with pytest.raises(AlreadyExistsError):
            await doors.generic.ExecuteReduction(book("crash", 8, ID))
        _, version = await doors.account("crash")
        intents = await doors.intents()
        await doors.mesh.close()

    answer = unpack_as(again.responses[0], ledger_pb2.BookResponse)
    assert answer == ledger_pb2.BookResponse(balance=9, action_id=ID)
    assert (version, len(intents)) == (1, 1)


async def test_a_reducer_without_a_machine(tmp_path: Path) -> None:
    async with process("Tally", tmp_path) as tally:
        mesh = Mesh({"reducer": tally.address})
        client = TallyClient(mesh)
        counts = [
            (await client.count(ledger_pb2.CountRequest(tally_id="t"))).count for _ in range(2)
        ]
        generic = mesh.stub(reducer_pb2_grpc.ReducerNodeServiceStub, "reducer")
        output = await generic.ExecuteReduction(action("Count", "t"))
        await mesh.close()

    assert counts == [1, 2]
    assert unpack_as(output.responses[0], ledger_pb2.CountResponse).count == 3
    assert output.state_metadata.new_state == ""


async def test_an_intent_is_carried_out_by_the_generated_effect_node(tmp_path: Path) -> None:
    async with process("Ledger", tmp_path) as ledger:
        (tmp_path / "onex.toml").write_text(
            f'queues = ["reducer"]\n[addresses]\nreducer = "{ledger.address}"\n'
        )
        async with process("Audit", tmp_path):
            doors = Doors(ledger.address)
            for amount in (5, 6):
                await doors.client.book(ledger_pb2.BookRequest(account_id="log", amount=amount))
            await doors.until_completed(2)
            await doors.mesh.close()

    assert (tmp_path / "log.log").read_text() == "booked 5\nbooked 6\n"
