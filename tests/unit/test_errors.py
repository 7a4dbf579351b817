"""Every error can be written, read back, pickled and copied, whatever it was made from."""

from __future__ import annotations

import asyncio
import copy
import enum
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onex.v1 import error_pb2
from onex_grpc.errors import (
    ContractValidationError,
    NodeUnavailableError,
    NotFoundError,
    OnexError,
    Status,
    UnavailableError,
    Violation,
    WorkflowExecutionError,
)
from onex_grpc.rpc.detail import (
    MOST_BYTES,
    ForeignError,
    bound,
    error_detail,
    from_detail,
    reason_of,
)
from onex_grpc.rpc.status import MAX_BYTES, from_status, to_status

if TYPE_CHECKING:
    from collections.abc import Callable

YEARS = 10 * 365 * 86_400.0
UNDECODABLE = b"caf\xe9.csv".decode(errors="surrogateescape")


class Colour(enum.Enum):
    RED = "red"


class Unsayable:
    """A value whose own code fails."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __repr__(self) -> str:
        return "Unsayable()"


class StockError(UnavailableError):
    """Takes other arguments than a message, and keeps them."""

    reason = "STOCK_TOO_LOW"

    def __init__(self, item: str, left: int) -> None:
        super().__init__(f"only {left} of {item}", context={"item": item}, retry_after=left)
        self.item = item
        self.left = left


class Silent(OnexError):
    """Never calls the constructor of its base."""

    reason = "SILENT"

    def __init__(self, item: str, left: int) -> None:
        self.item = item


@dataclass
class Generated(OnexError):
    """Has a generated constructor and no hash."""

    item: str = "pens"


class IntStatus(OnexError):
    reason = "INT_STATUS"

    @property
    def status(self) -> Any:
        return 5


class NoStatus(OnexError):
    reason = "NO_STATUS"
    default_status = Status.NOT_FOUND

    @property
    def status(self) -> Status:
        raise RuntimeError("cannot tell")


class FineStatus(OnexError):
    """A status of OK would be a success."""

    reason = "FINE_STATUS"
    default_status = Status.OK


class LateStatus(OnexError):
    """Its status is an attribute that its own constructor sets."""

    reason = "LATE_STATUS"

    def __init__(self, message: str, status: Status = Status.ABORTED) -> None:
        super().__init__(message)
        self.own = status

    @property
    def status(self) -> Status:
        return self.own


class Twin(OnexError):
    """Has the reason of another class, and another status."""

    reason = "NOT_FOUND"
    default_status = Status.UNAUTHENTICATED


class Brittle(OnexError):
    """Its own message fails."""

    reason = "BRITTLE"

    @property
    def message(self) -> str:
        raise RuntimeError("no message")

    @message.setter
    def message(self, value: str) -> None: ...

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Timed(OnexError, TimeoutError):
    """Is one of Python's own as well, with another layout."""

    reason = "TIMED"


def reasoned(reason: object) -> type[OnexError]:
    """A class with this reason; gone with the test."""
    return type("Reasoned", (OnexError,), {"reason": reason})


def there_and_back(error: OnexError) -> OnexError:
    wire = to_status(error)
    return from_status(wire.code, wire.message, wire.trailing_metadata[0][1])


def check(error: OnexError) -> None:
    """Whatever the error is, it can be carried."""
    detail = check_written(error)
    for copied in (through_pickle(error), copy.copy(error), copy.deepcopy(error)):
        assert type(copied) is type(error)
        assert error_detail(copied) == detail


def through_pickle(error: OnexError) -> OnexError:
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
    assert isinstance(back, OnexError)
    return back


def check_written(error: OnexError) -> error_pb2.ErrorDetail:
    detail = error_detail(error)
    assert detail.ByteSize() <= MOST_BYTES
    assert Status(detail.status_code) is error.status
    assert detail.reason == reason_of(error)
    stored = error_pb2.ErrorDetail.FromString(detail.SerializeToString())
    back = from_detail(stored)
    assert error_detail(back) == detail
    assert back.status is error.status
    wire = to_status(error)
    assert len(wire.trailing_metadata[0][1]) <= MAX_BYTES
    assert len(wire.message.encode()) <= 1024
    assert there_and_back(error).status is error.status
    return detail


texts = st.text(st.characters(), max_size=200)
long = st.builds(
    lambda text, times: text * times, st.text(st.characters(), max_size=20), st.integers(0, 2000)
)
junk = st.one_of(
    texts,
    long,
    st.none(),
    st.integers(),
    st.builds(lambda: 10**5000),
    st.floats(),
    st.booleans(),
    st.binary(max_size=300),
    st.just(UNDECODABLE),
    st.just("nul\0"),
    st.just(Colour.RED),
    st.just(Unsayable()),
    st.builds(ValueError, texts),
    st.just(object()),
)
mappings = st.one_of(
    st.none(), junk, st.dictionaries(st.one_of(texts, st.integers(), st.none()), junk, max_size=60)
)
faults = st.one_of(junk, st.lists(st.one_of(st.builds(Violation, junk, junk), junk), max_size=130))
KINDS: list[Any] = [
    OnexError,
    ContractValidationError,
    WorkflowExecutionError,
    NodeUnavailableError,
    IntStatus,
    NoStatus,
]
KINDS += [FineStatus, LateStatus, Twin, Brittle, Timed]


def errors_with(causes: st.SearchStrategy[Any]) -> st.SearchStrategy[OnexError]:
    def made(kind: type[OnexError], message: Any, **given: Any) -> OnexError:
        if kind is LateStatus:
            return LateStatus(message)
        return kind(message, **given)

    return st.builds(
        made,
        st.sampled_from(KINDS),
        junk,
        context=mappings,
        causes=causes,
        retry_after=junk,
        violations=faults,
        correlation_id=junk,
        node=junk,
    )


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        errors_with(junk), lambda inner: errors_with(st.lists(inner, max_size=4)), max_leaves=6
    )
)
def test_an_error_built_from_anything_can_be_carried(error: OnexError) -> None:
    check(error)


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(KINDS),
    st.dictionaries(
        st.sampled_from(
            [
                "message",
                "context",
                "causes",
                "retry_after",
                "violations",
                "correlation_id",
                "node",
                "reason",
            ]
        ),
        st.one_of(junk, mappings, faults),
    ),
)
def test_attributes_assigned_later_can_be_carried(
    kind: type[OnexError], later: dict[str, Any]
) -> None:
    error = kind("fine")
    for name, value in later.items():
        setattr(error, name, value)
    check(error)


def test_a_context_changed_later_can_be_carried() -> None:
    error: Any = OnexError("m", context={"a": "b"})
    error.context["x"] = 5
    error.context[7] = UNDECODABLE
    error.context.update({f"k{n}": "v" * 5000 for n in range(1000)})
    check(error)
    detail = error_detail(error)
    assert (detail.context["a"], detail.context["x"], detail.context["7"]) == (
        "b",
        "5",
        "caf\\udce9.csv",
    )
    assert detail.context["…"] == "more was left out"


def test_text_is_escaped_and_cut() -> None:
    assert OnexError(UNDECODABLE).message == "caf\\udce9.csv"
    assert OnexError("a\0b").message == "a\\x00b"
    assert str(OnexError(UNDECODABLE)) == "caf\\udce9.csv"
    assert OnexError("é" * 9000).message.endswith("é…")
    assert len(OnexError("é" * 9000).message.encode()) <= 8192
    assert OnexError(b"caf\xe9").message == "caf\\xe9"  # type: ignore[arg-type]
    assert OnexError(None).message == "None"  # type: ignore[arg-type]
    assert OnexError(Unsayable()).message == "(Unsayable, which cannot be shown)"  # type: ignore[arg-type]
    assert OnexError("m", context={"colour": Colour.RED}).context == {"colour": "Colour.RED"}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (1.5, 1.5), (0, 0.0), (-3, 0.0), ("2", 2.0), (float("nan"), None), ("soon", None),
        (float("inf"), YEARS), (1e300, YEARS), (10**400, YEARS), (object(), None), (None, None),
    ],
)  # fmt: skip
def test_retry_after_is_a_time(given: Any, kept: float | None) -> None:
    error = OnexError("m", retry_after=given)
    assert error.retry_after == kept
    assert there_and_back(error).retry_after == kept
    assert from_detail(error_detail(error)).retry_after == kept


def test_violations_survive_a_store_and_are_bounded() -> None:
    error = ContractValidationError.of(*(Violation(f"f{n}", "is wrong") for n in range(100_000)))
    assert len(error.violations) == 1000
    assert error.violations[-1].description == "and 99001 more; mend these first"
    check(error)
    told = there_and_back(error).violations
    assert told[-1].description == f"and {100_001 - len(told)} more; mend these first"
    few = ContractValidationError.of(Violation("a", "b"), Violation(UNDECODABLE, "c"))
    assert from_detail(error_detail(few)).violations == few.violations
    assert there_and_back(few).violations == few.violations


def test_thousands_of_causes() -> None:
    error = OnexError("m", causes=[NotFoundError(f"c{n}") for n in range(5000)])
    check(error)
    assert [cause.message for cause in error.causes] == [f"c{n}" for n in range(16)]


def deep(levels: int, link: Callable[[OnexError, OnexError], None]) -> OnexError:
    error: OnexError = NotFoundError("innermost")
    for level in range(levels):
        outer = WorkflowExecutionError(f"level {level}")
        link(outer, error)
        error = outer
    return error


def by_causes(outer: OnexError, inner: OnexError) -> None:
    outer.causes = (inner,)


def by_raising(outer: OnexError, inner: OnexError) -> None:
    outer.__cause__ = inner


@pytest.mark.parametrize("link", [by_causes, by_raising])
def test_causes_that_are_deep(link: Callable[[OnexError, OnexError], None]) -> None:
    check(deep(10_000, link))


@pytest.mark.parametrize("link", [by_causes, by_raising])
def test_causes_that_are_a_circle(link: Callable[[OnexError, OnexError], None]) -> None:
    one, other = WorkflowExecutionError("one"), WorkflowExecutionError("other")
    link(one, other)
    link(other, one)
    check(one)
    wide = OnexError("wide")
    wide.causes = [wide] * 16
    check(wide)


def test_status_of_a_deep_workflow_is_that_of_what_failed_first() -> None:
    assert deep(50, by_causes).status is Status.NOT_FOUND
    assert there_and_back(deep(50, by_causes)).status is Status.NOT_FOUND


@pytest.mark.parametrize(
    "reason", ["", "  ", None, 5, b"X", UNDECODABLE, "GRÜN", "A\0B", "X" * 5000]
)
def test_reason_of_a_class_of_the_users_own(reason: object) -> None:
    kind = reasoned(reason)
    error = kind("m")
    check_written(error)
    assert 0 < len(reason_of(error)) <= 128
    if reason_of(error) != "INTERNAL":
        assert type(there_and_back(error)) is kind


def test_classes_with_one_reason_are_told_apart_by_their_status() -> None:
    assert type(there_and_back(Twin("m"))) is Twin
    assert type(there_and_back(NotFoundError("m"))) is NotFoundError


def test_status_that_is_none_is_internal() -> None:
    assert IntStatus("m").status is Status.NOT_FOUND
    assert NoStatus("m").status is FineStatus("m").status is Status.INTERNAL
    assert to_status(FineStatus("m")).code is grpc.StatusCode.INTERNAL
    assert there_and_back(LateStatus("m", Status.DATA_LOSS)).status is Status.DATA_LOSS


def test_class_that_does_not_call_its_base() -> None:
    error = Silent("pens", 3)
    check(error)
    assert (error.message, error.context, error.causes) == ("('pens', 3)", {}, ())
    assert Silent.__new__(Silent).message == "Silent"
    check(Generated("ink"))


def test_class_whose_own_code_fails_is_told_by_its_name() -> None:
    detail = error_detail(Brittle("m"))
    assert (detail.reason, detail.status_code) == ("BRITTLE", Status.INTERNAL)
    assert detail.message == "Brittle: its own code fails, as the log of its node shows"


class Named(NotFoundError):
    """Names no reason of its own."""


class Counted(OnexError):
    """As docs/errors.md has it: what it tells stands in its context."""

    reason = "COUNTED"

    def __init__(self, left: int) -> None:
        super().__init__(f"{left} left", context={"left": str(left)})

    @property
    def left(self) -> int:
        return int(self.context["left"])


def test_class_without_a_reason_comes_back_as_its_base() -> None:
    assert type(there_and_back(Named("m"))) is NotFoundError


def test_a_property_that_reads_the_context_is_there_on_both_sides() -> None:
    for back in (there_and_back(Counted(3)), from_detail(error_detail(Counted(3)))):
        assert isinstance(back, Counted)
        assert back.left == 3


def all_carried(error: OnexError) -> dict[str, object]:
    return {
        **{
            name: getattr(error, name)
            for name in ("message", "context", "retry_after", "violations")
        },
        **{name: getattr(error, name) for name in ("correlation_id", "node", "status")},
        "causes": [all_carried(cause) for cause in error.causes],
    }


def tree(root: type[OnexError]) -> set[type[OnexError]]:
    return {root}.union(*(tree(child) for child in root.__subclasses__()))


@pytest.mark.parametrize(
    "kind", sorted({k for k in tree(OnexError) if k.__module__.startswith("onex_grpc")}, key=str)
)
def test_every_class_carries_all(kind: type[OnexError]) -> None:
    given: dict[str, Any] = {
        "context": {"k": "v"},
        "causes": [StockError("pens", 2), ForeignError("f", Status.DATA_LOSS, "ELSEWHERE")],
        "retry_after": 2.5,
        "violations": [Violation("f", "d")],
        "correlation_id": "0b9b7d1e-6f0e-4b8e-8f0a-4f1d2c3b4a59",
        "node": "effect/a",
    }
    if kind is ForeignError:
        error: OnexError = ForeignError("m", Status.ABORTED, "HEARD_ELSEWHERE")
        OnexError.__init__(error, "m", **given)
    else:
        error = kind("m", **given)
    ways = [through_pickle(error), copy.copy(error), copy.deepcopy(error)]
    ways += [from_detail(error_detail(error)), there_and_back(error)]
    for back in ways:
        assert type(back) is kind
        assert all_carried(back) == all_carried(error)
        assert reason_of(back) == reason_of(error)


def test_copies_keep_what_is_the_users_own() -> None:
    error = StockError("pens", 3)
    error.add_note("seen at noon")
    copies: list[Any] = [through_pickle(error), copy.copy(error), copy.deepcopy(error)]
    for back in copies:
        assert (back.item, back.left, back.__notes__, str(back)) == (
            "pens",
            3,
            ["seen at noon"],
            "only 3 of pens",
        )
    assert copy.copy(error).context is error.context
    assert copy.deepcopy(error).context is not error.context


def fail_in_pool(kind: str) -> None:
    if kind == "foreign":
        raise ForeignError("f", Status.DATA_LOSS, "ELSEWHERE")
    if kind == "deep":
        raise deep(10_000, by_causes)
    raise StockError(UNDECODABLE, 3)


@pytest.mark.parametrize("kind", ["foreign", "deep", "own"])
async def test_errors_come_back_from_a_pool_of_processes(kind: str) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        loop = asyncio.get_running_loop()
        with pytest.raises(OnexError) as raised:
            await loop.run_in_executor(pool, fail_in_pool, kind)
        assert await loop.run_in_executor(pool, abs, -1) == 1
    if kind == "own":
        assert isinstance(raised.value, StockError)
        assert raised.value.item == UNDECODABLE
    if kind == "foreign":
        assert raised.value.status is Status.DATA_LOSS


@given(st.binary(max_size=200), st.binary(max_size=100))
def test_details_of_others_make_an_error(detail: bytes, info: bytes) -> None:
    message = error_pb2.ErrorDetail()
    try:
        message.MergeFromString(detail)
    except Exception:
        return
    check(from_detail(message))


def test_errors_of_other_writers_are_bounded() -> None:
    detail = error_pb2.ErrorDetail(reason="R", message="m" * 3_000_000)
    inner = detail
    for _ in range(90):
        inner = inner.causes.add(reason="R", message="m" * 1000)
    bound(detail)
    assert detail.ByteSize() <= MOST_BYTES
    assert detail.reason == "R"
    assert detail.causes[0].causes[0].reason == "R"
