"""The algorithms of a compute node, by name."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, TypeAlias

from onex_grpc.errors import AlgorithmNotFoundError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from onex_grpc.compute.algorithm import Algorithm, ComputeInput, ComputeResult

Run: TypeAlias = "Callable[[ComputeInput], Awaitable[ComputeResult]]"


class AlgorithmRegistry:
    """Algorithms by name, each to be awaited whatever it is written as."""

    def __init__(self) -> None:
        self._algorithms: dict[str, Run] = {}

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

        self._add(name, run)

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

        self._add(name, run)

    def find(self, name: str) -> Run:
        """The algorithm of this name.

        Raises:
            AlgorithmNotFoundError: names the algorithms that there are.
        """
        try:
            return self._algorithms[name]
        except KeyError:
            known = ", ".join(self.names) or "none"
            raise AlgorithmNotFoundError(
                f"there is no algorithm {name!r}; known: {known}",
                context={"algorithm_type": name, "known": known},
            ) from None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all algorithms, sorted."""
        return tuple(sorted(self._algorithms))

    def copy(self) -> AlgorithmRegistry:
        """A registry with the same algorithms, to which others can be added."""
        fresh = AlgorithmRegistry()
        fresh._algorithms.update(self._algorithms)
        return fresh

    def _add(self, name: str, run: Run) -> None:
        if not 1 <= len(name) <= 128:
            raise ConfigurationError(f"the algorithm name {name!r} is empty or over 128 characters")
        if name in self._algorithms:
            raise ConfigurationError(f"there is an algorithm {name!r} already; choose another name")
        self._algorithms[name] = run
