"""The checkers of the torture: what they must accept, and what they must not."""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.torture.exclusion import early_takeovers
from tests.torture.linearizability import Timed, check
from tests.torture.recorder import Record
from tests.torture.register import ANY_VERSION, Call, Kind, Register, Result, step

if TYPE_CHECKING:
    from collections.abc import Sequence

    History = list[Timed[Call]]

TTL_US = 300_000


@dataclass(frozen=True)
class Plain:
    """An operation of a register without leases: a write of a value, or a read of it."""

    value: int
    is_write: bool


def plain_step(now: int, operation: Plain) -> int | None:
    if operation.is_write:
        return operation.value
    return now if operation.value == now else None


def write(value: int, invoked: int, returned: int | None) -> Timed[Plain]:
    return Timed(Plain(value, True), invoked, returned)


def read(value: int, invoked: int, returned: int | None) -> Timed[Plain]:
    return Timed(Plain(value, False), invoked, returned)


@pytest.mark.parametrize(
    ("history", "possible"),
    [
        pytest.param([], True, id="nothing"),
        pytest.param([write(1, 0, 1), read(1, 2, 3)], True, id="one after another"),
        pytest.param([write(1, 0, 1), read(0, 2, 3)], False, id="a lost write"),
        pytest.param([write(1, 0, 9), read(0, 2, 3)], True, id="a write that came later"),
        pytest.param(
            [write(1, 0, 9), read(1, 2, 3), read(0, 4, 5)], False, id="a value that went back"
        ),
        pytest.param(
            [write(1, 0, 5), write(2, 0, 5), read(1, 6, 7), read(2, 8, 9)], False, id="two lasts"
        ),
        pytest.param([write(1, 0, 5), write(2, 0, 5), read(1, 6, 7)], True, id="either order"),
        pytest.param([write(1, 0, None), read(1, 5, 6)], True, id="unknown, and done"),
        pytest.param([write(1, 0, None), read(0, 5, 6)], True, id="unknown, and not done"),
        pytest.param(
            [write(1, 0, None), read(0, 5, 6), read(1, 7, 8)], True, id="unknown, and done late"
        ),
        pytest.param(
            [write(1, 0, None), read(1, 5, 6), read(0, 7, 8)], False, id="unknown, done and undone"
        ),
        pytest.param([read(1, 0, 1), write(1, 2, None)], False, id="read before it was written"),
        pytest.param([write(1, 0, None), write(2, 1, None)], True, id="nothing is known"),
    ],
)
def test_histories_of_a_plain_register(history: list[Timed[Plain]], possible: bool) -> None:
    assert check(history, 0, plain_step).linearizable is possible


timed_plain = st.builds(
    lambda value, is_write, invoked, lasts: Timed(
        Plain(value, is_write), invoked, None if lasts is None else invoked + lasts
    ),
    st.integers(0, 2),
    st.booleans(),
    st.integers(0, 12),
    st.one_of(st.none(), st.integers(0, 6)),
)


@given(st.lists(timed_plain, max_size=5))
@settings(max_examples=150, deadline=None)
def test_it_finds_an_order_where_trying_all_finds_one(history: list[Timed[Plain]]) -> None:
    assert check(history, 0, plain_step).linearizable is any(
        explains(order) for order in all_orders(history)
    )


def all_orders(history: Sequence[Timed[Plain]]) -> list[tuple[Timed[Plain], ...]]:
    known = [timed for timed in history if timed.returned is not None]
    unknown = [timed for timed in history if timed.returned is None]
    return [
        order
        for count in range(len(unknown) + 1)
        for some in itertools.combinations(unknown, count)
        for order in itertools.permutations([*known, *some])
    ]


def explains(order: Sequence[Timed[Plain]]) -> bool:
    for earlier, later in itertools.combinations(order, 2):
        if later.returned is not None and later.returned < earlier.invoked:
            return False
    now: int | None = 0
    for timed in order:
        now = plain_step(now, timed.operation) if now is not None else None
    return now is not None


class Leases:
    """A fenced register that does one thing after another; the moments are tens of its steps."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.fence = 0
        self.version = 0
        self._value = ""
        self._ended = True

    def next(self) -> Call:
        return self._chance.choice([self.acquire, self.write, self.write, self.read, self.end])()

    def acquire(self) -> Call:
        if not self._ended and self._chance.random() < 0.3:
            return Call(Kind.ACQUIRE, Result.HELD)
        self.fence += self._chance.randint(1, 3)
        self._ended = False
        return Call(Kind.ACQUIRE, Result.OK, self.fence, self.version)

    def write(self) -> Call:
        fence = self.fence - self._chance.choice([0, 0, 0, 1, 2])
        expected = self._chance.choice([ANY_VERSION, self.version, self.version + 1])
        value = f"v{self._chance.random()}"
        call = Call(Kind.WRITE, Result.OK, fence, ANY_VERSION, value, expected)
        if fence < self.fence:
            return replace_result(call, Result.STALE)
        if self._ended:
            return replace_result(call, Result.EXPIRED)
        if expected not in (ANY_VERSION, self.version):
            return replace_result(call, Result.MISMATCH)
        self.version += 1
        self._value = value
        return Call(Kind.WRITE, Result.OK, fence, self.version, value, expected)

    def read(self) -> Call:
        return Call(Kind.READ, Result.OK, version=self.version, value=self._value)

    def end(self) -> Call:
        if self._ended:
            return Call(Kind.LOOK, Result.OK, self.fence)
        self._ended = True
        return Call(Kind.RELEASE, Result.OK, self.fence)


def replace_result(call: Call, result: Result) -> Call:
    return Call(call.kind, result, call.fence, ANY_VERSION, call.value, call.expected)


def sequential_run(seed: int, calls: int, reach: int) -> tuple[History, Leases]:
    """A run one after another, whose calls seem to overlap: each began before its effect and ended
    after it, by up to `reach` tenths of a step.
    """
    chance = random.Random(seed)  # noqa: S311 - chances, not secrets
    leases = Leases(chance)
    # The first lease, so that there is a fence to start from.
    done = [leases.acquire(), *(leases.next() for _ in range(calls))]
    return [
        Timed(call, at * 10 - chance.randint(0, reach), at * 10 + chance.randint(0, reach))
        for at, call in enumerate(done)
    ], leases


seeds = st.integers(0, 2**32)


@given(seeds, st.integers(0, 40), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_what_came_from_a_sequential_run_is_accepted(seed: int, calls: int, reach: int) -> None:
    history, _ = sequential_run(seed, calls, reach)
    random.Random(seed).shuffle(history)  # noqa: S311 - chances, not secrets
    assert check(history, Register(), step).linearizable


@given(seeds, st.integers(1, 30), st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_answers_that_got_lost_change_nothing(seed: int, calls: int, reach: int) -> None:
    history, _ = sequential_run(seed, calls, reach)
    chance = random.Random(seed)  # noqa: S311 - chances, not secrets
    assert check([forget(one, chance) for one in history], Register(), step).linearizable


def forget(one: Timed[Call], chance: random.Random) -> Timed[Call]:
    call = one.operation
    effects = (Kind.WRITE, Kind.RELEASE, Kind.ACQUIRE)
    if call.kind not in effects or call.result is not Result.OK or chance.random() < 0.6:
        return one
    if call.kind is Kind.ACQUIRE:
        # Its fence is used later on, so its holder must have learned it.
        return one
    return Timed(replace_result(call, Result.UNKNOWN), one.invoked, None)


@given(seeds, st.integers(1, 30), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_an_older_fence_that_is_accepted_is_found(seed: int, calls: int, reach: int) -> None:
    history, leases = sequential_run(seed, calls, 4)
    at = (calls + 1) * 10
    stale = leases.fence
    taken_over = Call(Kind.ACQUIRE, Result.OK, stale + 1, leases.version)
    accepted = Call(Kind.WRITE, Result.OK, stale, leases.version + 1, "stale")
    replace_result(accepted, Result.STALE)
    late = [Timed(taken_over, at, at + 1), Timed(accepted, at + 5, at + 6 + reach)]
    assert not check([*history, *late], Register(), step).linearizable
    late[1] = replace(late[1], operation=replace_result(accepted, Result.STALE))
    assert check([*history, *late], Register(), step).linearizable


ACQUIRED = Timed(Call(Kind.ACQUIRE, Result.OK, 5, 0), 0, 1)


@pytest.mark.parametrize(
    ("calls", "possible"),
    [
        ([Call(Kind.WRITE, Result.OK, 5, 1, "a")], True),
        ([Call(Kind.WRITE, Result.OK, 5, 2, "a")], False),
        ([Call(Kind.WRITE, Result.OK, 5, 1, "a", 1)], False),
        ([Call(Kind.WRITE, Result.MISMATCH, 5, ANY_VERSION, "a", 1)], True),
        ([Call(Kind.WRITE, Result.MISMATCH, 5, ANY_VERSION, "a", 0)], False),
        ([Call(Kind.WRITE, Result.STALE, 5)], False),
        ([Call(Kind.WRITE, Result.EXPIRED, 5)], True),
        ([Call(Kind.WRITE, Result.INVALID, 5)], False),
        ([Call(Kind.RENEW, Result.STALE, 5)], False),
        ([Call(Kind.RENEW, Result.OK, 5, 0)], True),
        ([Call(Kind.RENEW, Result.OK, 5, 3)], False),
        ([Call(Kind.ACQUIRE, Result.OK, 5)], False),
        ([Call(Kind.ACQUIRE, Result.OK, 4)], False),
        ([Call(Kind.ACQUIRE, Result.HELD)], True),
        ([Call(Kind.LOOK, Result.OK, 5)], True),
        ([Call(Kind.LOOK, Result.OK, 6)], False),
        ([Call(Kind.RELEASE, Result.OK, 5), Call(Kind.WRITE, Result.OK, 5, 1, "a")], False),
        ([Call(Kind.RELEASE, Result.OK, 5), Call(Kind.RENEW, Result.OK, 5, 0)], False),
        ([Call(Kind.RELEASE, Result.OK, 5), Call(Kind.ACQUIRE, Result.HELD)], False),
        ([Call(Kind.RELEASE, Result.OK, 5), Call(Kind.WRITE, Result.EXPIRED, 5)], True),
        ([Call(Kind.ACQUIRE, Result.OK, 6), Call(Kind.WRITE, Result.STALE, 5)], True),
        ([Call(Kind.ACQUIRE, Result.OK, 6), Call(Kind.WRITE, Result.EXPIRED, 5)], False),
        ([Call(Kind.ACQUIRE, Result.UNKNOWN), Call(Kind.WRITE, Result.STALE, 5)], True),
        ([Call(Kind.ACQUIRE, Result.UNKNOWN), Call(Kind.LOOK, Result.OK, 8)], True),
        (
            [
                Call(Kind.ACQUIRE, Result.UNKNOWN),
                Call(Kind.WRITE, Result.STALE, 5),
                Call(Kind.WRITE, Result.OK, 5, 1, "a"),
            ],
            False,
        ),
    ],
)
def test_answers_after_a_first_lease(calls: list[Call], possible: bool) -> None:
    history = [ACQUIRED] + [
        Timed(call, at * 10, None if call.result is Result.UNKNOWN else at * 10 + 1)
        for at, call in enumerate(calls, 1)
    ]
    verdict = check(history, Register(), step)
    assert verdict.linearizable is possible
    assert bool(verdict.stuck) is not possible


CALLEE_WRITTEN = Timed(Call(Kind.WRITE, Result.OK, 5, 1, "a"), 0, 1)


@pytest.mark.parametrize(
    ("call", "possible"),
    [
        (Call(Kind.WRITE, Result.OK, 5, 2, "b"), True),
        (Call(Kind.WRITE, Result.OK, 9, 2, "b"), True),
        (Call(Kind.WRITE, Result.OK, 4, 2, "b"), False),
        (Call(Kind.WRITE, Result.OK, 5, 3, "b"), False),
        (Call(Kind.WRITE, Result.STALE, 4), True),
        (Call(Kind.WRITE, Result.STALE, 5), False),
        (Call(Kind.WRITE, Result.EXPIRED, 5), False),
        (Call(Kind.WRITE, Result.MISMATCH, 5, ANY_VERSION, "b", 0), True),
        (Call(Kind.WRITE, Result.MISMATCH, 5, ANY_VERSION, "b", 1), False),
        (Call(Kind.WRITE, Result.MISMATCH, 4, ANY_VERSION, "b", 0), False),
        (Call(Kind.LOOK, Result.OK, 5), True),
        (Call(Kind.LOOK, Result.OK, 0), False),
        (Call(Kind.READ, Result.OK, version=1, value="a"), True),
    ],
)
def test_answers_of_a_callee_after_a_first_write(call: Call, possible: bool) -> None:
    history = [CALLEE_WRITTEN, Timed(call, 2, 3)]
    assert check(history, Register(issues=False), step).linearizable is possible


def test_long_histories_are_checked_fast() -> None:
    history, _ = sequential_run(5, 3000, 80)
    began = time.monotonic()
    assert check(history, Register(), step).linearizable
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("between", "taken_us", "early"),
    [
        ([], TTL_US - 1000, True),
        ([], TTL_US + 1000, False),
        ([Call(Kind.RENEW, Result.OK, 5, 0)], TTL_US + 400, True),
        ([Call(Kind.RENEW, Result.EXPIRED, 5)], TTL_US + 400, False),
        ([Call(Kind.RELEASE, Result.OK, 5)], 1000, False),
        ([Call(Kind.RELEASE, Result.UNKNOWN, 5)], 1000, False),
        ([Call(Kind.RELEASE, Result.OK, 4)], 1000, True),
    ],
)
def test_leases_granted_too_early_are_found(
    between: list[Call], taken_us: int, early: bool
) -> None:
    def record(call: Call, at_us: int) -> Record:
        return Record("w", "client/0", call, at_us * 1000, at_us * 1000 + 10)

    history = [
        record(Call(Kind.ACQUIRE, Result.OK, 5), 0),
        *(record(call, 500) for call in between),
        record(Call(Kind.ACQUIRE, Result.OK, 6), taken_us),
    ]
    assert early_takeovers(history, TTL_US, 0) == ([(5, 6)] if early else [])
