"""The store over one SQLite file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from onex_grpc.errors import LeaseNotFoundError
from onex_grpc.store.history_rules import not_kept
from onex_grpc.store.lease_rules import check_current, check_guard
from onex_grpc.store.registry_rules import NODES_TOPIC
from onex_grpc.store.single import SingleProcess
from onex_grpc.store.sqlite import (
    actions,
    cancelling,
    events,
    history,
    intents,
    leases,
    outcomes,
    pending_steps,
    purging,
    queries,
    queue_figures,
    registry,
    states,
    trail,
)
from onex_grpc.store.sqlite.backup import backup
from onex_grpc.store.value_rules import (
    check_action,
    check_change,
    check_durations,
    check_entry,
    check_event,
    check_guards,
    check_names,
    check_numbers,
    check_request,
    check_steps,
    check_texts,
    check_version_asked,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from onex_grpc.store.batcher import Batcher
    from onex_grpc.store.clock import StoreClock
    from onex_grpc.store.event_positions import EventSpan
    from onex_grpc.store.model import (
        ActionRecord,
        Cancellation,
        Checkpoint,
        ClaimedIntent,
        Commit,
        Committed,
        Guard,
        HistoryEntry,
        IdempotencyRecord,
        IntentState,
        LeaseGrant,
        LeaseRequest,
        LoggedAction,
        NewEvent,
        NodeEntries,
        NodeEntry,
        OpenWork,
        PendingStep,
        QueueStats,
        RecordedAction,
        Replayed,
        Rollback,
        Started,
        StateRow,
        StoredEvent,
        StoredIntent,
    )
    from onex_grpc.store.retention import Purged, PurgePosition, Retention
    from onex_grpc.store.sqlite.integrity import Check
    from onex_grpc.store.sqlite.reader import Reader
    from onex_grpc.store.sqlite.transaction import Transaction
    from onex_grpc.store.wakeups import Wakeups


class SqliteStore(SingleProcess):
    """A Store over one SQLite file, for one process. Its methods are documented at the Protocol."""

    def __init__(
        self,
        path: Path,
        batcher: Batcher[Transaction],
        reader: Reader,
        clock: StoreClock,
        wakeups: Wakeups,
        check: Check | None,
    ) -> None:
        """Takes over what `open_sqlite` has opened."""
        self._path = path
        self._batcher = batcher
        self._reader = reader
        self._clock = clock
        self._wakeups = wakeups
        self._check = check

    # Leases

    async def acquire_lease(self, request: LeaseRequest) -> LeaseGrant:
        check_request(request)
        return await self._batcher.submit_first(lambda tx: leases.acquire(tx, request))

    async def steal_lease(self, request: LeaseRequest) -> LeaseGrant:
        check_request(request)
        return await self._batcher.submit_first(lambda tx: leases.steal(tx, request))

    async def acquire_and_start(self, request: LeaseRequest, start: Commit) -> Started | Replayed:
        check_request(request)
        check_change(start)
        return await self._batcher.submit(lambda tx: states.acquire_and_start(tx, request, start))

    async def renew_leases(self, guards: Sequence[Guard]) -> Sequence[LeaseGrant | None]:
        check_guards(guards)
        return await self._batcher.submit_first(lambda tx: leases.renew_all(tx, guards))

    async def renew_lease(self, guard: Guard) -> LeaseGrant:
        check_guards((guard,))
        return await self._batcher.submit_first(lambda tx: leases.renew(tx, guard))

    async def release_lease(self, guard: Guard) -> int:
        check_guards((guard,))
        return await self._batcher.submit_first(lambda tx: leases.release(tx, guard))

    async def verify_lease(self, guard: Guard) -> LeaseGrant:
        check_guards((guard,))
        row, epoch = self._reader.row(lambda c: queries.lease(c, guard.workflow_id))
        now_us = self._clock.peek()
        return check_current(row, guard, now_us).grant(now_us, epoch)

    async def get_lease(self, workflow_id: str) -> LeaseGrant:
        check_texts(workflow_id=workflow_id)
        row, epoch = self._reader.row(lambda c: queries.lease(c, workflow_id))
        if row is None or row.expires_us is None:
            raise LeaseNotFoundError(
                f"workflow_id {workflow_id}: nobody ever held a lease over it; check the id",
                context={"workflow_id": workflow_id},
            )
        return row.grant(self._clock.peek(), epoch)

    # States and actions

    async def commit(self, change: Commit) -> Committed | Replayed:
        check_change(change)
        return await self._batcher.submit(lambda tx: states.commit(tx, change))

    async def checkpoint(self, change: Checkpoint) -> Committed | Replayed:
        check_change(change)
        return await self._batcher.submit(lambda tx: history.checkpoint(tx, change))

    async def rollback(self, change: Rollback) -> Committed | Replayed:
        check_change(change)
        return await self._batcher.submit(lambda tx: history.rollback(tx, change))

    async def prune_history(self, key: str, keep: int, age_us: int) -> int:
        check_texts(key=key)
        check_numbers(keep=keep)
        check_durations(age_us=age_us)
        return await self._batcher.submit(lambda tx: history.prune(tx, key, keep, age_us))

    async def get_state_at(self, key: str, to: int | str) -> StateRow:
        check_texts(key=key)
        check_version_asked(key, to)
        row = await self._reader.list(lambda c: trail.state_at(c, key, to))
        if row is None:
            raise not_kept(key, to)
        return row

    async def list_history(self, key: str, after: int, limit: int) -> Sequence[HistoryEntry]:
        check_texts(key=key)
        check_numbers(after=after, limit=limit)
        return await self._reader.list(lambda c: trail.history(c, key, after, limit))

    async def list_actions(self, scope: str, after: int, limit: int) -> Sequence[LoggedAction]:
        check_texts(scope=scope)
        check_numbers(after=after, limit=limit)
        return await self._reader.list(lambda c: trail.actions(c, scope, after, limit))

    async def raise_guard(self, guard: Guard) -> None:
        check_guards((guard,))
        row, _ = self._reader.row(lambda c: queries.lease(c, guard.workflow_id))
        # A guard that is known already needs no transaction, so a leased effect costs one write,
        # not two.
        if check_guard(row, guard, self._clock.peek()):
            await self._batcher.submit_first(lambda tx: leases.raise_guard(tx, guard))

    async def known_fence(self, workflow_id: str) -> Guard | None:
        check_texts(workflow_id=workflow_id)
        return self._reader.row(lambda c: queries.known_fence(c, workflow_id))

    async def get_state(self, key: str) -> StateRow:
        check_texts(key=key)
        return self._reader.row(lambda c: queries.state(c, key))

    async def find_action(self, scope: str, action_id: str) -> RecordedAction | None:
        check_texts(scope=scope, action_id=action_id)
        return self._reader.row(lambda c: queries.action(c, scope, action_id))

    async def record_failure(self, action: ActionRecord, error: bytes, guard: Guard | None) -> None:
        check_action(action)
        check_guards(() if guard is None else (guard,))
        await self._batcher.submit(lambda tx: actions.record_failure(tx, action, error, guard))

    async def list_open(self, prefix: str) -> Sequence[OpenWork]:
        check_texts(prefix=prefix)
        now_us = self._clock.peek()
        return await self._reader.list(lambda c: queries.open_work(c, prefix, now_us))

    async def record_pending(
        self, guard: Guard, steps: Sequence[PendingStep], ended: Sequence[str] = ()
    ) -> None:
        check_guards((guard,))
        check_steps(steps, ended)
        await self._batcher.submit(lambda tx: pending_steps.record(tx, guard, steps, ended))

    async def list_pending(self, workflow_id: str) -> Sequence[PendingStep]:
        check_texts(workflow_id=workflow_id)
        now_us = self._clock.peek()
        return await self._reader.list(lambda c: pending_steps.of_workflow(c, workflow_id, now_us))

    # Intents

    async def claim_intents(
        self, worker: str, limit: int, visibility_us: int, accepts: Collection[str] = ()
    ) -> Sequence[ClaimedIntent]:
        check_texts(worker=worker, accepts="".join(accepts))
        check_numbers(limit=limit)
        check_durations(visibility_us=visibility_us)
        return await self._batcher.submit(
            lambda tx: intents.claim(tx, worker, limit, visibility_us, accepts)
        )

    async def complete_intents(self, claim_tokens: Sequence[str]) -> Sequence[bool]:
        check_texts(claim_tokens="".join(claim_tokens))
        return await self._batcher.submit(lambda tx: intents.complete(tx, claim_tokens))

    async def fail_intent(
        self, claim_token: str, error: bytes, retry_in_us: int | None
    ) -> IntentState | None:
        check_texts(claim_token=claim_token)
        check_durations(retry_in_us=retry_in_us)
        return await self._batcher.submit(
            lambda tx: intents.fail(tx, claim_token, error, retry_in_us)
        )

    async def extend_intents(
        self, claim_tokens: Sequence[str], visibility_us: int
    ) -> Sequence[bool]:
        check_texts(claim_tokens="".join(claim_tokens))
        check_durations(visibility_us=visibility_us)
        return await self._batcher.submit_first(
            lambda tx: intents.extend(tx, claim_tokens, visibility_us)
        )

    async def release_intents(self, claim_tokens: Sequence[str]) -> None:
        check_texts(claim_tokens="".join(claim_tokens))
        await self._batcher.submit(lambda tx: intents.release(tx, claim_tokens))

    async def take_back_intents(self, worker: str, keep: Sequence[str]) -> None:
        check_texts(worker=worker)
        await self._batcher.submit(lambda tx: intents.take_back(tx, worker, keep))

    async def redrive_intents(self, intent_ids: Sequence[str]) -> int:
        check_texts(intent_ids="".join(intent_ids))
        return await self._batcher.submit(lambda tx: intents.redrive(tx, intent_ids))

    async def redrive_dead(self, limit: int) -> int:
        check_numbers(limit=limit)
        return await self._batcher.submit(lambda tx: intents.redrive_dead(tx, limit))

    async def cancel_intents(
        self, intent_ids: Sequence[str], guard: Guard | None = None
    ) -> Cancellation:
        check_texts(intent_ids="".join(intent_ids))
        check_guards(() if guard is None else (guard,))
        return await self._batcher.submit(lambda tx: cancelling.cancel(tx, intent_ids, guard))

    async def list_intents(
        self, state: IntentState, after: int, limit: int
    ) -> Sequence[StoredIntent]:
        check_numbers(after=after, limit=limit)
        return await self._reader.list(lambda c: queries.intents(c, state, after, limit))

    async def queue_stats(self) -> QueueStats:
        now_us = self._clock.peek()
        return await self._reader.list(lambda c: queue_figures.queue_stats(c, now_us))

    async def wait_intents(self, timeout: float | None, accepts: Collection[str] = ()) -> None:
        await self._wakeups.intents(timeout, accepts)

    # Events

    async def publish_event(self, event: NewEvent) -> StoredEvent:
        check_event(event)
        return await self._batcher.submit(lambda tx: events.publish(tx, event))

    async def find_event(self, topic: str, event_id: str) -> StoredEvent | None:
        check_names(topic=topic, event_id=event_id)
        return self._reader.row(lambda c: queries.event(c, topic, event_id))

    async def read_events(self, topic: str, after: int, limit: int) -> Sequence[StoredEvent]:
        check_names(topic=topic)
        check_numbers(after=after, limit=limit)
        return await self._reader.list(lambda c: queries.events(c, topic, after, limit))

    async def event_span(self, topic: str) -> EventSpan:
        check_names(topic=topic)
        return self._reader.row(lambda c: queries.event_span(c, topic))

    async def wait_events(self, topic: str, after: int) -> None:
        while True:
            # Asked for before the look, so that no event falls between the two.
            woken = self._wakeups.topic(topic)
            try:
                span = await self.event_span(topic)
                if max(span.head, span.expired) > after:
                    return
                await woken
            finally:
                woken.cancel()

    # The registry

    async def register_node(self, entry: NodeEntry) -> NodeEntry:
        check_entry(entry)
        return await self._batcher.submit(lambda tx: registry.register(tx, entry))

    async def unregister_node(self, node: str, instance: str, registrar: str) -> bool:
        check_texts(node=node, instance=instance, registrar=registrar)
        return await self._batcher.submit(
            lambda tx: registry.unregister(tx, node, instance, registrar)
        )

    async def forget_nodes(self, registrar: str) -> int:
        check_texts(registrar=registrar)
        return await self._batcher.submit(lambda tx: registry.forget(tx, registrar))

    async def list_nodes(self) -> NodeEntries:
        return await self._reader.list(registry.entries)

    async def wait_nodes(self, after: int) -> None:
        while True:
            # Asked for before the look, so that no change falls between the two.
            woken = self._wakeups.topic(NODES_TOPIC)
            try:
                if self._reader.row(registry.revision) > after:
                    return
                await woken
            finally:
                woken.cancel()

    # Outcomes and secrets

    async def find_outcome(self, key: str) -> IdempotencyRecord | None:
        check_texts(key=key)
        return self._reader.row(lambda c: queries.outcome(c, key))

    async def record_outcome(self, key: str, record: IdempotencyRecord) -> IdempotencyRecord:
        check_names(key=key)
        return await self._batcher.submit(lambda tx: outcomes.record(tx, key, record))

    async def get_or_create_secret(self, name: str, fresh: bytes) -> bytes:
        check_names(name=name)
        return await self._batcher.submit(lambda tx: outcomes.secret(tx, name, fresh))

    async def purge(self, retention: Retention, position: PurgePosition, limit: int) -> Purged:
        return await self._batcher.submit(lambda tx: purging.purge(tx, retention, position, limit))

    async def backup_to(self, target: Path) -> int:
        """Copies the store as it stands, while others go on; returns the copy's size in bytes.

        Raises:
            ConfigurationError: the target exists already or cannot be written.
        """
        return await asyncio.to_thread(backup, self._path, target)

    async def close(self) -> None:
        # The last connection to close writes the log back into the file, and that must be the
        # writer's.
        if self._check is not None:
            await asyncio.to_thread(self._check.stop)
        await asyncio.to_thread(self._reader.close)
        await self._batcher.close()
