"""Handlers of any shape, whose orchestrator ends at any moment, again and again."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from onex_grpc.errors import GuardRejectedError, NodeUnavailableError
from tests.unit.orchestration.callees import Callees, answers, asked, restarted, run

if TYPE_CHECKING:
    from onex_grpc.workflow.calls import StepCalls
    from tests.unit.orchestration.callees import Output, Successor
    from tests.unit.orchestration.conftest import House

Program: TypeAlias = "Step | Sequence | Race"


@dataclass(frozen=True)
class Step:
    kind: str
    name: str


@dataclass(frozen=True)
class Sequence:
    parts: tuple[Program, ...]


@dataclass(frozen=True)
class Race:
    """All of it at once; what comes out says who ended first."""

    parts: tuple[Program, ...]


@dataclass
class Writer:
    """Writes programs by chance."""

    chance: random.Random
    names: int = 0
    keys: list[str] = field(default_factory=list)

    def program(self, depth: int) -> Program:
        if not depth or self.chance.random() < 0.2:
            self.names += 1
            kind = self.chance.choice(("compute", "effect", "reduce", "refuse"))
            name = f"s{self.names}"
            if kind == "reduce":
                self.keys.append(name)
            return Step(kind, name)
        parts = tuple(self.program(depth - 1) for _ in range(self.chance.randint(2, 3)))
        return self.chance.choice((Sequence, Race))(parts)


class Interpreter:
    """Runs programs as handlers do."""

    def __init__(self, node: Callees, crash: asyncio.Event, crash_at: int) -> None:
        self._node = node
        self._crash = crash
        self._left = crash_at

    async def run(self, program: Program, calls: StepCalls) -> str:
        if isinstance(program, Step):
            return await self._step(program, calls)
        if isinstance(program, Sequence):
            return "".join([await self.run(part, calls) for part in program.parts])
        tasks = [asyncio.create_task(self.run(part, calls)) for part in program.parts]
        first = await next(iter(asyncio.as_completed(tasks)))
        # What comes next depends on who was first.
        count = await self._node.reduce(calls, f"first {first}")
        return f"[{first}{count}:{','.join(await asyncio.gather(*tasks))}]"

    async def _step(self, step: Step, calls: StepCalls) -> str:
        self._left -= 1
        if not self._left:
            self._crash.set()
        if step.kind == "compute":
            return await self._node.compute(calls, step.name)
        if step.kind == "effect":
            await self._node.effect(calls, step.name)
            return step.name
        if step.kind == "reduce":
            return f"{step.name}={await self._node.reduce(calls, step.name)}"
        with pytest.raises(GuardRejectedError):
            await self._node.reduce(calls, step.name, "REFUSE")
        return "-"


@pytest.mark.parametrize("seed", range(12))
async def test_wherever_it_ends_it_comes_to_the_same(
    house: House, successor: Successor, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - programs, no secrets
    writer = Writer(chance)
    program = writer.program(3)
    node = Callees(house)
    for crash_at in sorted(chance.randint(1, writer.names) for _ in range(3)):
        crash = asyncio.Event()
        interpreter = Interpreter(node, crash, crash_at)

        async def handler(
            request: StringValue, calls: StepCalls, interpreter: Interpreter = interpreter
        ) -> StringValue:
            return StringValue(value=await interpreter.run(program, calls))

        async with restarted(house, handler, successor) as one:
            waiting = asyncio.create_task(_asked(one))
            crashed = asyncio.create_task(crash.wait())
            await asyncio.wait((waiting, crashed), return_when=asyncio.FIRST_COMPLETED)
            for _ in range(chance.randint(0, 30)):
                await asyncio.sleep(0)
            await one.node.stop()
            crashed.cancel()
            await asyncio.wait((waiting,))
    async with restarted(house, handler, successor) as last:
        output = await run(last, asked())
        assert await run(last, asked()) == output
    (answer,) = answers(output)
    # Each reducer met its action once.
    for key in writer.keys:
        assert f"{key}=1" in answer
    names = [result.step_id for result in output.orchestration_result.step_results]
    assert len(names) == len(set(names))


async def _asked(house: House) -> Output | None:
    try:
        return await run(house, asked())
    except NodeUnavailableError:
        return None


async def test_whatever_was_given_up_is_given_up_again(house: House, successor: Successor) -> None:
    """A handler's timer may fire at any moment, also between a result's record and its delivery."""
    node = Callees(house)
    moments = range(1, 90, 2)
    met: dict[str, list[list[str]]] = {}

    async def handler(request: StringValue, calls: StepCalls) -> StringValue:
        steps = [asyncio.create_task(node.compute(calls, name)) for name in ("a", "b")]
        if request.value in met:
            # What comes again at all has come by then.
            await asyncio.sleep(0.3)
        else:
            for _ in range(int(request.value)):
                await asyncio.sleep(0)
        for step in steps:
            step.cancel()
        results = await asyncio.gather(*steps, return_exceptions=True)
        met.setdefault(request.value, []).append([type(result).__name__ for result in results])
        await node.effect(calls, f"after {request.value}")
        return request

    workflows = [asked(str(moment), f"w{moment}") for moment in moments]
    async with restarted(house, handler, successor) as one:
        waiting = []
        for moment, workflow in zip(moments, workflows, strict=True):
            house.script.gate(f"after {moment}")
            waiting.append(asyncio.create_task(run(one, workflow)))
            await house.script.entered[f"after {moment}"].wait()
        await one.node.stop()
        await asyncio.gather(*waiting, return_exceptions=True)
    for gate in house.script.gates.values():
        gate.set()
    async with restarted(house, handler, successor) as two:
        await asyncio.gather(*(run(two, workflow) for workflow in workflows))
    assert {
        moment: (first, again) for moment, (first, again) in met.items() if first != again
    } == {}
    # Some were given up, and some were not.
    assert len({str(first) for first, _ in met.values()}) > 1
