"""Addresses of nodes that several processes serve."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from onex_grpc.errors import (
    ConfigurationError,
    DeadlineExceededError,
    LeaseExpiredError,
    NodeUnavailableError,
)
from onex_grpc.rpc.client import Mesh
from onex_grpc.rpc.endpoints import endpoints_of
from onex_grpc.serve.instance import instance_name
from onex_grpc.serve.settings import Settings
from onex_grpc.typed.repeating import repeated

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from onex_grpc.errors import OnexError


@pytest.mark.parametrize(
    ("address", "target", "spread"),
    [
        ("127.0.0.1:50051", "127.0.0.1:50051", False),
        ("[::1]:50051", "[::1]:50051", False),
        ("localhost:50051", "localhost:50051", False),
        ("unix:/tmp/a:b", "unix:/tmp/a:b", False),
        ("orders.svc:50051", "orders.svc:50051", True),
        ("10.0.0.1:1,10.0.0.2:2", "ipv4:10.0.0.1:1,10.0.0.2:2", True),
        ("localhost:1, 10.0.0.2:2", "ipv4:127.0.0.1:1,10.0.0.2:2", True),
        ("[::1]:1,[fe80::1]:2", "ipv6:[::1]:1,[fe80::1]:2", True),
    ],
)
def test_calls_are_spread_over_several_endpoints(address: str, target: str, spread: bool) -> None:
    found = endpoints_of(address)
    assert found.target == target
    assert bool(found.options) == spread


@pytest.mark.parametrize("address", ["a:1,b:2", "10.0.0.1:1,[::1]:2", "10.0.0.1:1,10.0.0.2", "a,"])
async def test_list_that_grpc_cannot_use_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="address"):
        Mesh({"compute": address})


def test_settings_take_text_and_lists() -> None:
    given: dict[str, str | list[str]] = {
        "compute": "127.0.0.1:1, 127.0.0.1:2",
        "reducer/orders": ["127.0.0.1:3", "127.0.0.1:4"],
    }
    settings = Settings(addresses=given)
    addresses = settings.mesh_addresses()
    assert addresses["compute"] == "127.0.0.1:1,127.0.0.1:2"
    assert addresses["reducer/orders"] == "127.0.0.1:3,127.0.0.1:4"
    assert settings.default_addresses()["effect"] == "127.0.0.1:50051"


def test_process_on_a_shared_store_has_a_name_of_its_own() -> None:
    shared = Settings(store="postgresql://h/db")
    assert instance_name(shared) != instance_name(shared)
    Settings(instance=instance_name(shared))
    assert instance_name(Settings(store="postgres://h/db", instance="pod-0")) == "pod-0"
    assert instance_name(Settings()) == ""


# Repeats


def failing(*errors: OnexError) -> tuple[Callable[[float | None], Awaitable[str]], list[object]]:
    """A call that fails so often, and the timeouts that it was given."""
    left = list(errors)
    timeouts: list[object] = []

    async def call(timeout: float | None) -> str:
        timeouts.append(timeout)
        if left:
            raise left.pop(0)
        return "done"

    return call, timeouts


async def test_call_is_repeated_while_nobody_is_there() -> None:
    call, timeouts = failing(NodeUnavailableError("gone"), NodeUnavailableError("gone"))
    assert await repeated(call, None) == "done"
    assert timeouts == [None] * 3


async def test_call_without_a_timeout_is_not_repeated_for_ever() -> None:
    call, timeouts = failing(*(NodeUnavailableError(str(number)) for number in range(9)))
    with pytest.raises(NodeUnavailableError, match="4"):
        await asyncio.wait_for(repeated(call, None), 10)
    assert len(timeouts) == 5


async def test_call_is_repeated_as_long_as_its_timeout_lasts() -> None:
    call, timeouts = failing(*(NodeUnavailableError(str(number)) for number in range(6)))
    assert await repeated(call, 600.0) == "done"
    assert len(timeouts) == 7


async def test_other_errors_are_not_repeated() -> None:
    call, timeouts = failing(LeaseExpiredError("late"))
    with pytest.raises(LeaseExpiredError):
        await repeated(call, 1.0)
    assert len(timeouts) == 1


async def test_time_of_a_call_is_that_of_all_its_attempts() -> None:
    call, timeouts = failing(*(NodeUnavailableError("gone") for _ in range(9)))
    with pytest.raises(DeadlineExceededError, match="gone"):
        await repeated(call, 0.03)
    assert all(isinstance(timeout, float) and timeout <= 0.03 for timeout in timeouts)
