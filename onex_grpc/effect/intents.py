"""Intents as effects, alone and many at a time."""

from __future__ import annotations

import asyncio
from itertools import groupby
from typing import TYPE_CHECKING, Final

from onex.v1 import common_pb2, effect_pb2, intent_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence

    Execute = Callable[[intent_pb2.ModelIntent], Awaitable[intent_pb2.IntentExecutionResult]]

NO_REPEATS: Final = common_pb2.RetryPolicy()
_DEFAULT_REPEATS: Final = common_pb2.RetryPolicy(max_retries=4)


def repeats_of(intent: intent_pb2.ModelIntent) -> common_pb2.RetryPolicy:
    """The policy of an intent, or the contract's default."""
    return intent.retry_policy if intent.HasField("retry_policy") else _DEFAULT_REPEATS


def effect_of(
    intent: intent_pb2.ModelIntent, repeats: common_pb2.RetryPolicy
) -> effect_pb2.ModelContractEffect:
    """The effect that an intent declares; always keyed, by the intent's id if by nothing else."""
    return effect_pb2.ModelContractEffect(
        correlation_id=intent.correlation_id,
        external_service_config=effect_pb2.ExternalServiceConfig(service_name=intent.target),
        io_operation_config=effect_pb2.IoOperationConfig(
            operation=intent.payload,
            idempotency_key=intent.idempotency_key or intent.intent_id,
        ),
        retry_config=repeats,
    )


async def execute_by_priority(
    intents: Iterable[intent_pb2.ModelIntent], execute: Execute, at_once: int
) -> AsyncGenerator[intent_pb2.IntentExecutionResult, None]:
    """The results of intents: those of one priority at the same time, before the next priority.

    Those of one order_key follow one another as they are given, at the highest of their priorities.
    """
    for _, chains in groupby(sorted(_chains(intents), key=_urgency), key=_urgency):
        results: asyncio.Queue[intent_pb2.IntentExecutionResult] = asyncio.Queue()
        free = asyncio.Semaphore(at_once)
        pending = 0
        tasks = []
        for chain in chains:
            pending += len(chain)
            tasks.append(asyncio.create_task(_execute_chain(chain, execute, free, results)))
        try:
            for _ in range(pending):
                yield await results.get()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _execute_chain(
    chain: Sequence[intent_pb2.ModelIntent],
    execute: Execute,
    free: asyncio.Semaphore,
    results: asyncio.Queue[intent_pb2.IntentExecutionResult],
) -> None:
    for intent in chain:
        async with free:
            results.put_nowait(await execute(intent))


def _chains(intents: Iterable[intent_pb2.ModelIntent]) -> list[list[intent_pb2.ModelIntent]]:
    chains: dict[str | int, list[intent_pb2.ModelIntent]] = {}
    for position, intent in enumerate(intents):
        chains.setdefault(intent.order_key or position, []).append(intent)
    return list(chains.values())


def _urgency(chain: Sequence[intent_pb2.ModelIntent]) -> int:
    return min(intent.priority or intent_pb2.INTENT_PRIORITY_NORMAL for intent in chain)
