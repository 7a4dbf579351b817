"""A node of each kind with an rpc of each form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forms.v1.forms_onex import (
    BookingMesh,
    BookingOrchestrator,
    CounterIntent,
    CounterReducer,
    MathCompute,
    NotebookEffect,
    NotebookIntents,
)
from forms.v1.forms_pb2 import (
    AddAllRequest,
    AddRequest,
    BookAllRequest,
    BookEachRequest,
    BookRequest,
    BookStepsRequest,
    CountRequest,
    DoubleRequest,
    EchoRequest,
    FollowRequest,
    Line,
    NoteAllRequest,
    Noted,
    NoteRequest,
    Number,
    ReadRequest,
    RunningRequest,
    StepsRequest,
    SumRequest,
    Tally,
)

from onex_grpc.typed import Action, EffectCall, Reduction, WorkflowCall

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence

    from onex_grpc import ModelONEXContainer


class Math(MathCompute):
    """Calculates."""

    def double(self, request: DoubleRequest) -> Number:
        return Number(value=2 * request.value)

    def count(self, request: CountRequest) -> Iterator[Number]:
        return (Number(value=number) for number in range(1, request.upto + 1))

    async def sum(self, requests: AsyncIterator[SumRequest]) -> Number:
        total = 0
        async for request in requests:
            total += request.value
        return Number(value=total)

    async def running(
        self, requests: AsyncIterator[RunningRequest]
    ) -> AsyncGenerator[Number, None]:
        total = 0
        async for request in requests:
            total += request.value
            yield Number(value=total)


class Notebook(NotebookEffect):
    """Keeps lines in memory."""

    def __init__(self, container: ModelONEXContainer) -> None:
        super().__init__(container)
        self._lines: list[str] = []

    async def note(self, request: NoteRequest, call: EffectCall) -> Noted:
        self._lines.append(request.text)
        return Noted(lines=len(self._lines))

    async def read(self, request: ReadRequest, call: EffectCall) -> AsyncGenerator[Line, None]:
        for text in self._lines:
            yield Line(text=text)

    async def note_all(self, requests: AsyncIterator[NoteAllRequest], call: EffectCall) -> Noted:
        async for request in requests:
            self._lines.append(request.text)
        return Noted(lines=len(self._lines))

    async def echo(
        self, requests: AsyncIterator[EchoRequest], call: EffectCall
    ) -> AsyncGenerator[Line, None]:
        async for request in requests:
            self._lines.append(request.text)
            yield Line(text=request.text)


class Counters(CounterReducer):
    """Counts."""

    def add(
        self, state: Tally, request: AddRequest, action: Action
    ) -> Reduction[Tally, Number, CounterIntent]:
        state.total += request.amount
        note = NotebookIntents.note(NoteRequest(text=f"{request.tally}={state.total}"))
        return Reduction(state, Number(value=state.total), [note])

    def steps(
        self, state: Tally, request: StepsRequest, action: Action
    ) -> Reduction[Tally, Sequence[Number], CounterIntent]:
        totals = [state.total + step for step in range(1, request.amount + 1)]
        state.total += request.amount
        return Reduction(state, [Number(value=total) for total in totals])

    def add_all(
        self, state: Tally, request: AddAllRequest, action: Action
    ) -> Reduction[Tally, Number, CounterIntent]:
        state.total += request.amount
        return Reduction(state, Number(value=state.total))

    def follow(
        self, state: Tally, request: FollowRequest, action: Action
    ) -> Reduction[Tally, Sequence[Number], CounterIntent]:
        state.total += request.amount
        return Reduction(state, [Number(value=state.total)])


class Bookings(BookingOrchestrator):
    """Doubles an amount and adds it to the tally of the booking's customer."""

    async def book(self, request: BookRequest, mesh: BookingMesh, workflow: WorkflowCall) -> Number:
        return await _book(mesh, request.booking, request.amount)

    async def book_steps(
        self, request: BookStepsRequest, mesh: BookingMesh, workflow: WorkflowCall
    ) -> AsyncGenerator[Number, None]:
        for _ in range(request.times):
            yield await _book(mesh, request.booking, 1)

    async def book_all(
        self, request: BookAllRequest, mesh: BookingMesh, workflow: WorkflowCall
    ) -> Number:
        return await _book(mesh, request.booking, request.amount)

    async def book_each(
        self, request: BookEachRequest, mesh: BookingMesh, workflow: WorkflowCall
    ) -> AsyncGenerator[Number, None]:
        yield await _book(mesh, request.booking, request.amount)


async def _book(mesh: BookingMesh, booking: str, amount: int) -> Number:
    doubled = await mesh.math.double(DoubleRequest(value=amount))
    return await mesh.counter.add(AddRequest(tally=booking, amount=doubled.value))
