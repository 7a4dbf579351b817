"""A client's calls on one workflow, recorded as they are made; some answers get lost."""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from tests.torture.calls import Answer, Ask, Door
from tests.torture.register import ANY_VERSION, Call, Kind, Result

if TYPE_CHECKING:
    import random

LOST_SHARE: Final = 0.08
# Up to here an answer is waited for before it is given up: about what one takes.
_PATIENCE: Final = 0.006


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One call of a history; `returned` None where its outcome is unknown."""

    workflow: str
    client: str
    call: Call
    invoked: int
    returned: int | None


class Log(msgspec.Struct):
    """What one client did in one wave.

    Attributes:
        records: its calls.
        errors: answers that left the outcome open, by their text.
    """

    records: list[Record] = msgspec.field(default_factory=list)
    errors: list[str] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Held:
    """A lease as its holder knows it; that it has run out is not looked at."""

    lease_id: str
    fence: int


@dataclass(slots=True)
class Recorder:
    """Makes the calls of one client on one workflow."""

    door: Door
    log: Log
    workflow: str
    client: str
    ttl_us: int
    chance: random.Random
    version: int = 0
    """Of the register, as last seen."""
    written: int = field(default=0)

    async def acquire(self) -> tuple[Held | None, float]:
        """The lease, or None and the seconds for which another one has it."""
        ask = Ask(
            Kind.ACQUIRE,
            self.workflow,
            holder=self.client,
            request_id=uuid.uuid4().hex,
            ttl_us=self.ttl_us,
        )
        invoked = time.monotonic_ns()
        answer = None if self._loses() else await self.door(ask)
        if answer is None:
            await self._give_up(ask)
            # Whatever a repeat gets, this one may have been granted a lease of its own.
            self._note(Call(Kind.ACQUIRE, Result.UNKNOWN), invoked, None)
            if self.chance.random() < 0.5:
                return None, 0.0
            again = time.monotonic_ns()
            answer = msgspec.structs.replace(await self.door(ask), version=ANY_VERSION)
            invoked = invoked if answer.result is Result.OK else again
        self._settle(Call(Kind.ACQUIRE, answer.result, answer.fence, answer.version), invoked)
        self._note_error(answer)
        if answer.result is not Result.OK:
            return None, answer.wait_us / 1e6
        return Held(answer.lease_id, answer.fence), 0.0

    async def write(self, held: Held, *, exact: bool) -> Result:
        """Writes under a lease, whether or not it still runs."""
        self.written += 1
        ask = Ask(
            Kind.WRITE,
            self.workflow,
            request_id=uuid.uuid4().hex,
            lease_id=held.lease_id,
            fence=held.fence,
            value=f"{self.client}-{self.written}",
            expected=self.version if exact else ANY_VERSION,
        )
        return await self._repeatable(ask)

    async def release(self, held: Held) -> Result:
        """Gives a lease back."""
        return await self._repeatable(self._ask(Kind.RELEASE, held))

    async def renew(self, held: Held) -> Result:
        """Prolongs a lease; a lost answer says nothing, since nothing else changes."""
        invoked = time.monotonic_ns()
        answer = await self.door(self._ask(Kind.RENEW, held))
        if answer.result is not Result.UNKNOWN:
            call = Call(Kind.RENEW, answer.result, held.fence, answer.version)
            self._note(call, invoked, time.monotonic_ns())
        self._note_error(answer)
        return answer.result

    async def read(self) -> None:
        """Reads the register."""
        invoked = time.monotonic_ns()
        answer = await self.door(Ask(Kind.READ, self.workflow))
        if answer.result is Result.OK:
            self.version = answer.version
            call = Call(Kind.READ, Result.OK, version=answer.version, value=answer.value)
            self._note(call, invoked, time.monotonic_ns())
        self._note_error(answer)

    async def look(self) -> None:
        """Asks for the highest fence."""
        invoked = time.monotonic_ns()
        answer = await self.door(Ask(Kind.LOOK, self.workflow))
        if answer.result is Result.OK:
            self._note(Call(Kind.LOOK, Result.OK, answer.fence), invoked, time.monotonic_ns())
        self._note_error(answer)

    def _ask(self, kind: Kind, held: Held) -> Ask:
        return Ask(kind, self.workflow, lease_id=held.lease_id, fence=held.fence)

    async def _repeatable(self, ask: Ask) -> Result:
        """A call that takes effect once however often it is made: one operation in the history."""
        invoked = time.monotonic_ns()
        if self._loses():
            await self._give_up(ask)
            if self.chance.random() < 0.5:
                self._note(_call(ask, Answer(Result.UNKNOWN)), invoked, None)
                return Result.UNKNOWN
        answer = await self.door(ask)
        if ask.kind is Kind.WRITE and answer.result is Result.OK:
            self.version = answer.version
        self._settle(_call(ask, answer), invoked)
        self._note_error(answer)
        return answer.result

    def _loses(self) -> bool:
        return self.chance.random() < LOST_SHARE

    async def _give_up(self, ask: Ask) -> None:
        """Sends a call and drops its answer, at times before there is one."""
        sent = asyncio.ensure_future(self.door(ask))
        await asyncio.wait([sent], timeout=self.chance.uniform(0, _PATIENCE))
        if not sent.done():
            sent.cancel()
            await asyncio.wait([sent])

    def _settle(self, call: Call, invoked: int) -> None:
        unknown = call.result is Result.UNKNOWN
        self._note(call, invoked, None if unknown else time.monotonic_ns())

    def _note(self, call: Call, invoked: int, returned: int | None) -> None:
        self.log.records.append(Record(self.workflow, self.client, call, invoked, returned))

    def _note_error(self, answer: Answer) -> None:
        if answer.error:
            self.log.errors.append(answer.error)


def _call(ask: Ask, answer: Answer) -> Call:
    return Call(ask.kind, answer.result, ask.fence, answer.version, ask.value, ask.expected)
