"""Which worker gets which intent: routes of intents, and what effect nodes accept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from google.protobuf import wrappers_pb2

from onex.v1 import effect_pb2, intent_pb2, node_pb2
from onex_grpc.container import ModelONEXContainer
from onex_grpc.contract.route import MOST_ROUTES, custom_route, route_of, target_route
from onex_grpc.effect.settings import CustomTarget, EffectSettings, FilesTarget, TargetSettings
from onex_grpc.errors import ConfigurationError, ContractValidationError
from onex_grpc.node import NodeEffect
from onex_grpc.rpc import Mesh
from onex_grpc.store import Store, open_store
from onex_grpc.telemetry import NO_TELEMETRY, Telemetry
from tests.unit.intent.bench import QueueBench, intent, name_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from onex_grpc.effect.custom_call import CustomCall
    from onex_grpc.effect.custom_target import CustomOperations

TEXT = "google.protobuf.StringValue"
DESCRIPTOR = node_pb2.NodeDescriptor(name="test", version="1.0.0")


@pytest.fixture
async def container() -> AsyncIterator[ModelONEXContainer]:
    """What an effect node needs."""
    made = ModelONEXContainer()
    store = await open_store("memory:")
    made.register(Store, store)
    made.register(Mesh, Mesh({}))
    made.register(Telemetry, NO_TELEMETRY)
    yield made
    await store.close()


class Bare(NodeEffect):
    """Has the targets of its settings."""

    descriptor = DESCRIPTOR


class Plain(NodeEffect):
    """Has the targets of its settings, and one operation of its own."""

    descriptor = DESCRIPTOR

    def register_operations(self, operations: CustomOperations) -> None:
        async def say(message: wrappers_pb2.StringValue, call: CustomCall) -> str:
            return message.value

        operations.add(wrappers_pb2.StringValue, say)


class Overriding(NodeEffect):
    """Does everything by itself."""

    descriptor = DESCRIPTOR

    async def execute_effect(
        self, contract: effect_pb2.ModelContractEffect
    ) -> effect_pb2.ModelEffectOutput:
        return effect_pb2.ModelEffectOutput()


def with_targets(container: ModelONEXContainer, **targets: TargetSettings) -> ModelONEXContainer:
    container.register(EffectSettings, EffectSettings(targets=targets, queues=["reducer"]))
    return container


def test_the_route_says_what_a_worker_must_be_able_to_do() -> None:
    assert route_of(intent("f", target="files")) == target_route("files") == "target/files"
    own = intent_pb2.ModelIntent()
    own.payload.custom.Pack(wrappers_pb2.StringValue(value="x"))
    assert route_of(own) == custom_route(TEXT) == f"custom/{TEXT}"
    own.target = "crm"
    assert route_of(own) == custom_route(TEXT, "crm") == f"custom/{TEXT}/crm"


async def test_a_node_accepts_its_operations_and_targets(container: ModelONEXContainer) -> None:
    node = Plain(with_targets(container, files=FilesTarget(root="f"), crm=CustomTarget()))
    assert node.accepted_routes() == [f"custom/{TEXT}", f"custom/{TEXT}/crm", "target/files"]


async def test_a_node_without_anything_takes_nothing(container: ModelONEXContainer) -> None:
    node = Bare(with_targets(container))
    assert node.accepted_routes() == []
    await node.start()
    assert await node.dependencies() == {}
    await node.stop()


async def test_a_node_that_does_all_by_itself_takes_all(container: ModelONEXContainer) -> None:
    assert Overriding(with_targets(container)).accepted_routes() is None


async def test_its_targets_say_what_an_overriding_node_takes(
    container: ModelONEXContainer,
) -> None:
    node = Overriding(with_targets(container, files=FilesTarget(root="f")))
    assert node.accepted_routes() == ["target/files"]


async def test_a_node_with_too_many_routes_does_not_start(container: ModelONEXContainer) -> None:
    targets = {f"t{n}": CustomTarget() for n in range(MOST_ROUTES)}
    with pytest.raises(ConfigurationError, match="1001 routes"):
        await Plain(with_targets(container, **targets)).start()


async def test_each_worker_gets_its_own(bench: QueueBench) -> None:
    done: dict[str, list[str]] = {"a": [], "b": []}

    async def as_a(given: intent_pb2.ModelIntent) -> None:
        done["a"].append(name_of(given))

    async def as_b(given: intent_pb2.ModelIntent) -> None:
        done["b"].append(name_of(given))

    await bench.emit(*(intent(f"{t}{n}", target=t) for n in range(20) for t in "abc"))
    async with (
        bench.working(as_a, name="effect/a", accepts=["target/a"]),
        bench.working(as_b, name="effect/b", accepts=["target/b", "target/unknown"]),
    ):
        await bench.until(lambda stats: stats.completed == 40)
        await bench.emit(intent("a20", target="a"), intent("b20", target="b"))
        await bench.until(lambda stats: stats.completed == 42)
    await bench.until(lambda stats: (stats.pending, stats.dead) == (20, 0))
    assert {one: len(names) for one, names in done.items()} == {"a": 21, "b": 21}
    assert all(name.startswith(one) for one, names in done.items() for name in names)


async def test_a_worker_that_comes_later_gets_what_has_waited(bench: QueueBench) -> None:
    async def execute(given: intent_pb2.ModelIntent) -> None:
        await asyncio.sleep(0)

    await bench.emit(intent("x", target="late"))
    async with bench.working(execute, accepts=["target/early"]):
        await bench.emit(intent("y", target="early"))
        await bench.until(lambda stats: stats.completed == 1)
        async with bench.working(execute, name="effect/late", accepts=["target/late"]):
            await bench.until(lambda stats: stats.completed == 2)


async def test_a_route_that_is_none_is_refused(bench: QueueBench) -> None:
    call = bench.stub.TakeIntents()
    hello = intent_pb2.TakeIntentsHello(worker="effect/a", accepts=["orders.v1.Order"])
    await call.write(intent_pb2.TakeIntentsRequest(hello=hello))
    with pytest.raises(ContractValidationError, match=r"accepts\[0\]"):
        await call.read()


async def test_a_route_that_nobody_accepts_is_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now_us = 1_700_000_000_000_000
    store = await open_store("memory:", clock=lambda: now_us)
    bench = QueueBench(store)

    async def execute(given: intent_pb2.ModelIntent) -> None:
        await asyncio.Event().wait()

    async def told() -> list[str]:
        caplog.clear()
        await bench.stub.GetQueueStats(intent_pb2.GetQueueStatsRequest())
        return [one.message for one in caplog.records if one.levelname == "WARNING"]

    await bench.emit(intent("x", target="file"), intent("y", target="file"))
    assert await told() == []
    now_us += 61_000_000
    async with bench.working(execute, in_flight=1, accepts=["target/files"]):
        (warning,) = await told()
        assert "'target/file', the oldest of 2 for 61 s" in warning
        assert await told() == []
    async with bench.working(execute, in_flight=1, accepts=["target/file"]):
        await bench.until(lambda stats: stats.in_flight == 1)
        assert await told() == []
    await bench.until(lambda stats: stats.pending == 2 and not stats.routes[0].workers)
    assert sum(one.levelname == "WARNING" for one in caplog.records) == 1
    await bench.close()
    await store.close()
