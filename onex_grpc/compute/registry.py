"""The algorithms of a compute node, by name."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from onex_grpc.errors import (
    AlgorithmNotFoundError,
    ConfigurationError,
    ContractValidationError,
    Violation,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from onex_grpc.compute.algorithm import Algorithm, ComputeInput, ComputeResult

Run: TypeAlias = "Callable[[ComputeInput], Awaitable[ComputeResult]]"
Inputs: TypeAlias = "AsyncIterator[ComputeInput]"
RunStream: TypeAlias = "Callable[[Inputs], AsyncGenerator[ComputeResult, None]]"


@dataclass(frozen=True, slots=True)
class _Registered:
    """One algorithm; `run` is None where one input cannot be answered by one result."""

    run: Run | None
    run_stream: RunStream


class AlgorithmRegistry:
    """Algorithms by name, each to be awaited whatever it is written as."""

    def __init__(self) -> None:
        self._algorithms: dict[str, _Registered] = {}

    def register(self, name: str, algorithm: Algorithm) -> None:
        """Offers an algorithm that runs on the event loop: async, or done in no time.

        Raises:
            ConfigurationError: for a name that is empty, too long or taken.
        """

        async def run(data: ComputeInput) -> ComputeResult:
            result = algorithm(data)
            if inspect.isawaitable(result):
                awaited: ComputeResult = await result
                return awaited
            return result

        self._add(name, _Registered(run, _in_turn(run)))

    def register_in_thread(
        self, name: str, algorithm: Callable[[ComputeInput], ComputeResult]
    ) -> None:
        """Offers a plain function that takes long, so that other calls go on meanwhile.

        A thread cannot be stopped: when its call is cancelled, the function runs on, unheard.

        Raises:
            ConfigurationError: for a name that is empty, too long or taken; for an async function.
        """
        if inspect.iscoroutinefunction(algorithm):
            raise ConfigurationError(f"algorithm {name!r} is async; offer it with register()")

        async def run(data: ComputeInput) -> ComputeResult:
            return await asyncio.to_thread(algorithm, data)

        self._add(name, _Registered(run, _in_turn(run)))

    def register_server_stream(
        self, name: str, algorithm: Callable[[ComputeInput], AsyncGenerator[ComputeResult, None]]
    ) -> None:
        """Offers an algorithm that answers one input with several results.

        It is reached by ExecuteComputeStream only; several inputs are answered one after another.

        Raises:
            ConfigurationError: for a name that is empty, too long or taken.
        """

        async def run_stream(inputs: Inputs) -> AsyncGenerator[ComputeResult, None]:
            async for data in inputs:
                async with aclosing(algorithm(data)) as results:
                    async for result in results:
                        yield result

        self._add(name, _Registered(None, run_stream))

    def register_client_stream(
        self, name: str, algorithm: Callable[[Inputs], Awaitable[ComputeResult]]
    ) -> None:
        """Offers an algorithm that answers several inputs with one result.

        ExecuteCompute reaches it, too: its one input is a stream of one.

        Raises:
            ConfigurationError: for a name that is empty, too long or taken.
        """

        async def run(data: ComputeInput) -> ComputeResult:
            return await algorithm(_only(data))

        async def run_stream(inputs: Inputs) -> AsyncGenerator[ComputeResult, None]:
            yield await algorithm(inputs)

        self._add(name, _Registered(run, run_stream))

    def register_bidi(
        self, name: str, algorithm: Callable[[Inputs], AsyncGenerator[ComputeResult, None]]
    ) -> None:
        """Offers an algorithm that answers several inputs with several results.

        It is reached by ExecuteComputeStream only.

        Raises:
            ConfigurationError: for a name that is empty, too long or taken.
        """
        self._add(name, _Registered(None, algorithm))

    def find(self, name: str) -> Run:
        """The algorithm of this name, for one input and one result.

        Raises:
            AlgorithmNotFoundError: names the algorithms that there are.
            ContractValidationError: for one that answers with a stream.
        """
        run = self._find(name).run
        if run is None:
            fault = f"{name!r} answers with a stream; call ExecuteComputeStream"
            raise ContractValidationError.of(Violation("algorithm_config.algorithm_type", fault))
        return run

    def find_stream(self, name: str) -> RunStream:
        """The algorithm of this name, for streams; one without them answers each input in turn.

        Raises:
            AlgorithmNotFoundError: names the algorithms that there are.
        """
        return self._find(name).run_stream

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all algorithms, sorted."""
        return tuple(sorted(self._algorithms))

    def copy(self) -> AlgorithmRegistry:
        """A registry with the same algorithms, to which others can be added."""
        fresh = AlgorithmRegistry()
        fresh._algorithms.update(self._algorithms)
        return fresh

    def _find(self, name: str) -> _Registered:
        try:
            return self._algorithms[name]
        except KeyError:
            known = ", ".join(self.names) or "none"
            raise AlgorithmNotFoundError(
                f"there is no algorithm {name!r}; known: {known}",
                context={"algorithm_type": name, "known": known},
            ) from None

    def _add(self, name: str, registered: _Registered) -> None:
        if not 1 <= len(name) <= 128:
            raise ConfigurationError(f"the algorithm name {name!r} is empty or over 128 characters")
        if name in self._algorithms:
            raise ConfigurationError(f"there is an algorithm {name!r} already; choose another name")
        self._algorithms[name] = registered


def _in_turn(run: Run) -> RunStream:
    async def run_stream(inputs: Inputs) -> AsyncGenerator[ComputeResult, None]:
        async for data in inputs:
            yield await run(data)

    return run_stream


async def _only(data: ComputeInput) -> AsyncGenerator[ComputeInput, None]:
    yield data
