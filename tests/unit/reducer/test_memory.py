"""What a reducer keeps in memory, and how much of it."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import Int64Value

from onex_grpc.reducer.memory import StateCache, Versioned


def kept(cache: StateCache[Int64Value], *keys: str) -> list[str]:
    return [key for key in keys if cache.get(key) is not None]


def state(version: int) -> Versioned[Int64Value]:
    return Versioned(version, Int64Value(value=version))


def test_the_states_kept_are_bounded_by_number_size_and_bytes() -> None:
    cache: StateCache[Int64Value] = StateCache(entries=3, largest=60, total=100)
    for key in "abcd":
        cache.put(key, state(1), 10)
    assert kept(cache, *"abcd") == ["b", "c", "d"]
    cache.put("d", state(2), 61)
    assert kept(cache, *"bcd") == ["b", "c"]
    cache.put("e", state(1), 50)
    cache.put("f", state(1), 50)
    assert kept(cache, *"bcdef") == ["e", "f"]


def test_a_state_that_grows_counts_once() -> None:
    cache: StateCache[Int64Value] = StateCache(entries=10, largest=60, total=100)
    cache.put("a", state(1), 40)
    for version in range(1, 9):
        cache.put("b", state(version), 60)
    assert kept(cache, "a", "b") == ["a", "b"]
    found = cache.get("b")
    assert found is not None
    assert found.version == 8
    cache.drop("b")
    cache.put("c", state(1), 60)
    assert kept(cache, "a", "b", "c") == ["a", "c"]
