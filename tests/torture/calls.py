"""What clients ask of a store and what it answers, the same over gRPC and directly."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from onex_grpc.errors import (
    EpochMismatchError,
    LeaseConflictError,
    LeaseExpiredError,
    LeaseValidationError,
    OnexError,
    StaleFenceError,
)
from onex_grpc.store import (
    ActionRecord,
    Commit,
    Committed,
    Exact,
    FenceOnly,
    Guard,
    LeaseRequest,
    Store,
    workflow_key,
)
from tests.torture.register import ANY_VERSION, Kind, Result

_CALLEE: Final = ".callee"


def callee_of(workflow: str) -> str:
    """By which name a callee's register of a workflow goes: nobody acquires a lease over it, so the
    store takes the fences as those of another store.
    """
    return workflow + _CALLEE


def is_callee(name: str) -> bool:
    """Whether this is the register of a callee."""
    return name.endswith(_CALLEE)


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """A call on the register of one workflow.

    Attributes:
        request_id: of an acquisition, or of a write: the same for a repeat.
        expected: the version that a write expects; ANY_VERSION to go by its fence alone.
    """

    kind: Kind
    workflow: str
    holder: str = ""
    request_id: str = ""
    ttl_us: int = 0
    lease_id: str = ""
    fence: int = 0
    value: str = ""
    expected: int = ANY_VERSION


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """What came of it; `wait_us` is how long a lease in the way still lasts."""

    result: Result
    fence: int = 0
    lease_id: str = ""
    version: int = ANY_VERSION
    value: str = ""
    wait_us: int = 0
    error: str = ""


Door = Callable[[Ask], Awaitable[Answer]]


async def answer(store: Store, ask: Ask) -> Answer:
    """Does what is asked; a refusal is an answer, any other failure leaves the outcome unknown."""
    try:
        return await _DO[ask.kind](store, ask)
    except LeaseConflictError as held:
        return Answer(Result.HELD, wait_us=round((held.retry_after or 0) * 1e6))
    except StaleFenceError:
        return Answer(Result.STALE)
    except LeaseExpiredError:
        return Answer(Result.EXPIRED)
    except EpochMismatchError:
        return Answer(Result.MISMATCH)
    except LeaseValidationError as invalid:
        return Answer(Result.INVALID, error=str(invalid))
    except OnexError as error:
        return Answer(Result.UNKNOWN, error=f"{type(error).__name__}: {error}")


async def _acquire(store: Store, ask: Ask) -> Answer:
    grant = await store.acquire_lease(
        LeaseRequest(ask.workflow, ask.holder, ask.ttl_us, ask.request_id)
    )
    return Answer(Result.OK, grant.fence, grant.lease_id, grant.epoch)


async def _renew(store: Store, ask: Ask) -> Answer:
    return Answer(Result.OK, version=(await store.renew_lease(_guard(ask))).epoch)


async def _release(store: Store, ask: Ask) -> Answer:
    await store.release_lease(_guard(ask))
    return Answer(Result.OK)


async def _write(store: Store, ask: Ask) -> Answer:
    record = ActionRecord(
        scope=ask.workflow,
        action_id=ask.request_id,
        content_hash=ask.value.encode(),
        action_type=1,
        target="register",
        correlation_id=ask.request_id,
        issued_us=0,
    )
    written = await store.commit(
        Commit(
            key=workflow_key(ask.workflow),
            expect=FenceOnly() if ask.expected == ANY_VERSION else Exact(ask.expected),
            state=ask.value.encode(),
            state_type="torture.Register",
            guard=_guard(ask),
            actions=[record],
        )
    )
    version = written.version if isinstance(written, Committed) else written.action.epoch
    return Answer(Result.OK, version=version)


async def _read(store: Store, ask: Ask) -> Answer:
    row = await store.get_state(workflow_key(ask.workflow))
    return Answer(Result.OK, version=row.version, value=row.state.decode())


async def _look(store: Store, ask: Ask) -> Answer:
    highest = await store.known_fence(ask.workflow)
    return Answer(Result.OK, fence=highest.fence if highest else 0)


def _guard(ask: Ask) -> Guard:
    return Guard(ask.workflow, ask.lease_id, ask.fence)


_DO = {
    Kind.ACQUIRE: _acquire,
    Kind.RENEW: _renew,
    Kind.RELEASE: _release,
    Kind.WRITE: _write,
    Kind.READ: _read,
    Kind.LOOK: _look,
}
