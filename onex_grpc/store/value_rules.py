"""Values that no store takes, because one database or another cannot keep them.

They are refused before they are queued: found by the database, they would fail the transaction of
a whole batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from onex_grpc.errors import ContractValidationError, Violation
from onex_grpc.store.history_rules import not_kept
from onex_grpc.store.model import Commit, Rollback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from onex_grpc.store.model import (
        ActionRecord,
        Checkpoint,
        Guard,
        LeaseRequest,
        NewEvent,
        NodeEntry,
        PendingStep,
    )

_NUL: Final = "\0"
# An entry of a PostgreSQL index has room for 2,704 bytes, and some indexes hold two names.
_NAME_BYTES: Final = 1024
_SMALLINT: Final = 2**15 - 1
_INTEGER: Final = 2**31 - 1
_BIGINT: Final = 2**63 - 1
# Added to the time it must stay below _BIGINT.
_DURATION_US: Final = 2**62


class _Fields:
    """The fields of one kind of value that a database may refuse.

    Attributes:
        check: lets a value through that every store can keep; raises ContractValidationError,
            which names the field.
    """

    def __init__(
        self,
        within: str,
        *,
        names: Sequence[str] = (),
        texts: Sequence[str] = (),
        numbers: Sequence[tuple[str, int]] = (),
    ) -> None:
        """Names the fields.

        Args:
            within: what stands before a field in an error.
            names: text that stands in an index.
            texts: other text.
            numbers: whole numbers, which may be None, with the largest that is kept.
        """
        self._within = within
        self._names = tuple(names)
        self._texts = tuple(texts)
        self._numbers = tuple(numbers)
        self.check = self._compile()

    def _compile(self) -> Callable[[object], None]:
        """Make one expression over all fields, which knows the usual values and has a look at each
        field of the others: several values are checked for each change, and a loop over the fields
        takes four times as long.
        """
        texts = ", ".join(f"value.{name}" for name in (*self._names, *self._texts))
        usual = [
            f"len(text := ''.join(({texts},))) <= {_NAME_BYTES}",
            "text.isascii()",
            f"{_NUL!r} not in text",
            *(
                f"((number := value.{name}) is None or -{most} <= number <= {most})"
                for name, most in self._numbers
            ),
        ]
        source = f"lambda value: None if {' and '.join(usual)} else check_each(value)"
        check: Callable[[object], None] = eval(source, {"check_each": self._check_each})  # noqa: S307 - our own names
        return check

    def _check_each(self, value: object) -> None:
        for name in self._names:
            _check_name(self._within + name, getattr(value, name))
        for name in self._texts:
            _check_text(self._within + name, getattr(value, name))
        for name, most in self._numbers:
            number = getattr(value, name)
            if number is not None and not -most <= number <= most:
                raise _too_large(self._within + name, number, most)


_REQUEST: Final = _Fields(
    "",
    names=("workflow_id",),
    texts=("holder", "request_id", "take_over_from"),
    numbers=(("ttl_us", _DURATION_US),),
)
_GUARD: Final = _Fields("guard.", names=("workflow_id",), texts=("lease_id",))
_ACTION: Final = _Fields(
    "actions.",
    names=("scope", "action_id"),
    texts=("target", "correlation_id", "lease_id", "parent_action_id"),
    numbers=(
        ("action_type", _INTEGER),
        ("issued_us", _BIGINT),
        ("fence", _BIGINT),
        ("epoch", _BIGINT),
    ),
)
_INTENT: Final = _Fields(
    "intents.",
    names=("intent_id", "order_key", "route"),
    texts=("correlation_id", "traceparent"),
    numbers=(("priority", _SMALLINT), ("max_attempts", _INTEGER)),
)
_COMMIT: Final = _Fields("", names=("key",), texts=("kind", "state_type"))
_ROLLBACK: Final = _Fields("", names=("key",), texts=("kind",))
_CHECKPOINT: Final = _Fields("", names=("key", "name"))
_EVENT: Final = _Fields("", names=("topic", "event_id"))
_STEP: Final = _Fields(
    "steps.",
    names=("action_id",),
    texts=("step_id", "target"),
    numbers=(("attempts", _INTEGER), ("issued_us", _BIGINT)),
)
_ENTRY: Final = _Fields("", names=("node", "instance"), texts=("store_id", "registrar"))


def check_texts(**texts: str) -> None:
    """Lets text through that every store can keep or look for.

    Raises:
        ContractValidationError: names the parameter.
    """
    for name, text in texts.items():
        _check_text(name, text)


def check_names(**names: str) -> None:
    """Lets text through that every store can index.

    Raises:
        ContractValidationError: names the parameter.
    """
    for name, text in names.items():
        _check_name(name, text)


def check_durations(**microseconds: int | None) -> None:
    """Lets durations through that can be added to the time.

    Raises:
        ContractValidationError: names the parameter.
    """
    for name, us in microseconds.items():
        if us is not None and not -_DURATION_US <= us <= _DURATION_US:
            raise _too_large(name, us, _DURATION_US)


def check_numbers(**numbers: int) -> None:
    """Lets positions and counts through that every database can compare.

    Raises:
        ContractValidationError: names the parameter.
    """
    for name, number in numbers.items():
        if not -_BIGINT <= number <= _BIGINT:
            raise _too_large(name, number, _BIGINT)


def check_guards(guards: Iterable[Guard]) -> None:
    """Lets guards through whose texts can be kept; what becomes of their fences is the lease
    rules' matter.
    """
    for guard in guards:
        _GUARD.check(guard)


def check_request(request: LeaseRequest) -> None:
    """Lets a wish for a lease through that can be kept."""
    _REQUEST.check(request)


def check_action(action: ActionRecord) -> None:
    """Lets an action through that can be kept."""
    _ACTION.check(action)


def check_event(event: NewEvent) -> None:
    """Lets an event through that can be kept."""
    _EVENT.check(event)


def check_entry(entry: NodeEntry) -> None:
    """Lets an entry of the registry through that can be kept."""
    _ENTRY.check(entry)


def check_steps(steps: Iterable[PendingStep], ended: Iterable[str]) -> None:
    """Let pending steps and the ids of ended ones through that every store can keep."""
    for step in steps:
        _STEP.check(step)
    check_texts(ended="".join(ended))


def check_change(change: Commit | Checkpoint | Rollback) -> None:
    """Lets a change through that can be kept, each of its actions once.

    Raises:
        ContractValidationError: names the field.
        HistoryNotFoundError: a rollback to a version that no state reaches.
    """
    if change.guard is not None:
        _GUARD.check(change.guard)
    if change.actions:
        _check_actions(change.actions)
    if isinstance(change, Commit):
        _COMMIT.check(change)
        for intent in change.intents:
            _INTENT.check(intent)
    elif isinstance(change, Rollback):
        _ROLLBACK.check(change)
        check_version_asked(change.key, change.to)
    else:
        _CHECKPOINT.check(change)


def check_version_asked(key: str, to: int | str) -> None:
    """Lets a version or the name of a checkpoint through that a state may have.

    Raises:
        ContractValidationError: no store can look for the name.
        HistoryNotFoundError: no state reaches the version.
    """
    if isinstance(to, str):
        _check_text("to", to)
    elif not 0 <= to <= _BIGINT:
        raise not_kept(key, to)


def _check_actions(actions: Sequence[ActionRecord]) -> None:
    for action in actions:
        _ACTION.check(action)
    if len(actions) < 2:
        return
    ids = [(action.scope, action.action_id) for action in actions]
    if len(set(ids)) < len(ids):
        raise _refusal("actions.action_id", "stands twice in one change; each action has its own")


def _check_text(field: str, text: str) -> None:
    if _NUL in text:
        raise _refusal(
            field, "has the character NUL (U+0000) in it, which no store keeps; leave it out"
        )
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise _refusal(
            field,
            "has half of a surrogate pair in it (U+D800 to U+DFFF), which is no character; leave "
            "it out",
        )


def _check_name(field: str, text: str) -> None:
    _check_text(field, text)
    if (size := len(text.encode())) > _NAME_BYTES:
        raise _refusal(
            field, f"has {size} bytes in UTF-8; a store indexes up to {_NAME_BYTES}, shorten it"
        )


def _too_large(field: str, number: int, most: int) -> ContractValidationError:
    return _refusal(field, f"is {number}; a store keeps numbers from -{most} to {most}")


def _refusal(field: str, fault: str) -> ContractValidationError:
    return ContractValidationError.of(Violation(field, fault))
