"""What a batch has decided to write, sent as one statement a table instead of one a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, LiteralString

from onex_grpc.store.postgres.intent_sql import READY_ROUTES
from onex_grpc.store.postgres.pending_steps import StepChanges

if TYPE_CHECKING:
    from onex_grpc.store.lease_rules import LeaseRow
    from onex_grpc.store.postgres.exchange import Answer, Exchange
    from onex_grpc.store.postgres.transaction import Row

# Arrays are taken apart side by side in a list of columns. In FROM each would be stored before it
# is read, which takes longer than the row that it is for.
_LEASES: Final = (
    "UPDATE workflow SET fence = new.fence, lease_id = new.lease_id, request_id = new.request_id, "
    "holder = new.holder, ttl_us = new.ttl_us, expires_us = new.expires_us "
    "FROM (SELECT unnest(%b::text[]) AS workflow_id, unnest(%b::bigint[]) AS fence, "
    "unnest(%b::text[]) AS lease_id, unnest(%b::text[]) AS request_id, "
    "unnest(%b::text[]) AS holder, unnest(%b::bigint[]) AS ttl_us, "
    "unnest(%b::bigint[]) AS expires_us) AS new "
    "WHERE workflow.workflow_id = new.workflow_id"
)
_NEW_STATES: Final = (
    "INSERT INTO state (key, version, open) SELECT key, version, coalesce(open, false) "
    "FROM (SELECT unnest(%b::text[]) AS key, unnest(%b::bigint[]) AS version, "
    "unnest(%b::boolean[]) AS open) AS new"
)
_STATES: Final = (
    "UPDATE state SET version = new.version, open = coalesce(new.open, state.open) "
    "FROM (SELECT unnest(%b::text[]) AS key, unnest(%b::bigint[]) AS version, "
    "unnest(%b::boolean[]) AS open) AS new WHERE state.key = new.key"
)
_HISTORY: Final = (
    "INSERT INTO history (state_id, version, kind, fence, lease_id, holder, action_id, "
    "parent_action_id, intents, written_us, state_type, state) "
    "SELECT state.id, new.version, new.kind, new.fence, new.lease_id, new.holder, new.action_id, "
    "new.parent_action_id, new.intents, new.written_us, new.state_type, new.state "
    "FROM (SELECT unnest(%b::text[]) AS key, unnest(%b::bigint[]) AS version, "
    "unnest(%b::text[]) AS kind, unnest(%b::bigint[]) AS fence, unnest(%b::text[]) AS lease_id, "
    "unnest(%b::text[]) AS holder, unnest(%b::text[]) AS action_id, "
    "unnest(%b::text[]) AS parent_action_id, unnest(%b::text[]) AS intents, "
    "unnest(%b::bigint[]) AS written_us, unnest(%b::text[]) AS state_type, "
    "unnest(%b::bytea[]) AS state) AS new JOIN state ON state.key = new.key"
)
_ACTIONS: Final = (
    "INSERT INTO action (scope, action_id, content_hash, action_type, target, correlation_id, "
    "issued_us, fence, basis, lease_id, parent_action_id, request, reply, error, epoch, failed, "
    "finished_us, holder) "
    "SELECT unnest(%b::text[]), unnest(%b::text[]), unnest(%b::bytea[]), unnest(%b::bigint[]), "
    "unnest(%b::text[]), unnest(%b::text[]), unnest(%b::bigint[]), unnest(%b::bigint[]), "
    "unnest(%b::bigint[]), unnest(%b::text[]), unnest(%b::text[]), unnest(%b::bytea[]), "
    "unnest(%b::bytea[]), unnest(%b::bytea[]), unnest(%b::bigint[]), unnest(%b::boolean[]), "
    "unnest(%b::bigint[]), unnest(%b::text[])"
)
_INTENTS: Final = (
    "INSERT INTO intent (intent_id, state, priority, rank_us, timed_us, attempts, max_attempts, "
    "claim, worker, order_key, route, created_us, correlation_id, traceparent, payload, "
    "last_error) SELECT intent_id, state, priority, rank_us, 0, 0, max_attempts, '', '', "
    "order_key, route, created_us, correlation_id, traceparent, payload, '' "
    "FROM (SELECT unnest(%b::text[]) AS intent_id, unnest(%b::bigint[]) AS state, "
    "unnest(%b::bigint[]) AS priority, unnest(%b::bigint[]) AS rank_us, "
    "unnest(%b::bigint[]) AS max_attempts, unnest(%b::text[]) AS order_key, "
    "unnest(%b::text[]) AS route, unnest(%b::bigint[]) AS created_us, "
    "unnest(%b::text[]) AS correlation_id, unnest(%b::text[]) AS traceparent, "
    "unnest(%b::bytea[]) AS payload) AS new"
)
# The sum keeps the index of what is in flight out of the plan: all of it would be read.
_COMPLETIONS: Final = (
    "UPDATE intent SET state = 5, timed_us = done.timed_us "
    "FROM (SELECT unnest(%b::bigint[]) AS seq, unnest(%b::text[]) AS claim, "
    "unnest(%b::bigint[]) AS timed_us) AS done "
    "WHERE intent.seq = done.seq AND intent.claim = done.claim AND intent.state + 0 = 3 "
    "RETURNING intent.seq, intent.claim, order_key, priority"
)
# A look without locks tells how many of each route are among those that rank first; so many are
# locked then. Others that claim at the same time take other rows instead of waiting for these. A
# plan may run a plain sub-select more than once, and claim more than its limit.
_OF_WANTED: Final = (
    "ranked AS MATERIALIZED (SELECT wanted.route, first.rank_us, first.seq "
    "FROM wanted CROSS JOIN LATERAL (SELECT rank_us, seq FROM intent "
    "WHERE state = 1 AND intent.route = wanted.route "
    "ORDER BY rank_us, seq LIMIT (SELECT most FROM count)) AS first), "
    "shares AS MATERIALIZED (SELECT best.route, count(*) AS share FROM "
    "(SELECT route FROM ranked ORDER BY rank_us, seq LIMIT (SELECT most FROM count)) AS best "
    "GROUP BY best.route), "
    "head AS MATERIALIZED (SELECT first.seq, first.rank_us FROM shares CROSS JOIN LATERAL "
    "(SELECT seq, rank_us FROM intent WHERE state = 1 AND intent.route = shares.route "
    "ORDER BY rank_us, seq LIMIT shares.share FOR UPDATE SKIP LOCKED) AS first), "
    "dealt AS MATERIALIZED "
    "(SELECT seq, row_number() OVER (ORDER BY rank_us, seq) AS turn FROM head) "
    "UPDATE intent SET state = 3, attempts = attempts + 1, claim = (%b::text[])[dealt.turn], "
    "worker = (%b::text[])[dealt.turn], timed_us = (%b::bigint[])[dealt.turn] "
    "FROM dealt WHERE intent.seq = dealt.seq "
    "RETURNING claim, rank_us, intent.seq, priority, route, intent_id, attempts, max_attempts, "
    "payload, traceparent, redrives"
)
_COUNT: Final = "count (most) AS MATERIALIZED (SELECT %b::bigint)"
_WANTED: Final = "wanted (route) AS MATERIALIZED (SELECT * FROM unnest(%b::text[]))"
_CLAIMS: Final = "WITH " + ", ".join((_COUNT, _WANTED, _OF_WANTED))
_CLAIMS_OF_ALL: Final = "WITH RECURSIVE " + ", ".join((_COUNT, READY_ROUTES, _OF_WANTED))


class Answers:
    """The rows that a statement for several members returns, to be fetched once it was sent; a
    member's rows begin with its key.
    """

    __slots__ = ("_answer", "_columns", "_rows")

    def __init__(self, columns: int) -> None:
        """A key is so many columns wide."""
        self._columns = columns
        self._answer: Answer | None = None
        self._rows: dict[Row, list[Row]] = {}

    def come_from(self, answer: Answer) -> None:
        """The statement was sent."""
        self._answer = answer

    def take(self, key: Row) -> list[Row]:
        """The rows of one member, which nobody else gets."""
        if self._answer is not None:
            for row in self._answer.fetchall():
                self._rows.setdefault(row[: self._columns], []).append(row)
            self._answer = None
        return self._rows.pop(key, [])


class Pending:
    """Rows to be written. Each list holds rows in the order of its statement's columns."""

    __slots__ = (
        *("_claims", "_completed", "_completions", "_new_states", "_states"),
        *("actions", "history", "intents", "leases", "steps"),
    )

    def __init__(self) -> None:
        self.leases: dict[str, LeaseRow] = {}
        self._new_states: dict[str, tuple[int, bool | None]] = {}
        self._states: dict[str, tuple[int, bool | None]] = {}
        self.history: list[Row] = []
        self.actions: list[Row] = []
        self.intents: list[Row] = []
        self.steps = StepChanges()
        self._completions: list[Row] = []
        self._completed = Answers(2)
        self._claims: dict[tuple[str, ...], tuple[list[Row], Answers]] = {}

    def add_completion(self, seq: int, claim: str, now_us: int) -> Answers:
        """A claim that ends well; its row is (seq, claim, order_key, priority)."""
        self._completions.append((seq, claim, now_us))
        return self._completed

    def add_claims(self, routes: tuple[str, ...], limit: int, claim: Row) -> Answers:
        """So many intents of these routes, or of any, for a claim (its nonce, the worker, and until
        when); a row is that of the statement.
        """
        claims, answers = self._claims.setdefault(routes, ([], Answers(1)))
        claims.extend([claim] * limit)
        return answers

    def add_state(self, key: str, version: int, opened: bool | None) -> None:
        """A state's new version; None leaves it as open as it was."""
        states = self._new_states if version == 1 or key in self._new_states else self._states
        if opened is None and key in states:
            opened = states[key][1]
        states[key] = (version, opened)

    def send(self, exchange: Exchange) -> None:
        """Sends all, and waits for nothing."""
        for statement, rows in (
            (_LEASES, [_lease_row(row) for row in self.leases.values()]),
            (_NEW_STATES, [(key, *row) for key, row in self._new_states.items()]),
            (_STATES, [(key, *row) for key, row in self._states.items()]),
            (_HISTORY, self.history),
            (_ACTIONS, self.actions),
            (_INTENTS, self.intents),
        ):
            if rows:
                _send(exchange, statement, rows)
        self.steps.send(exchange)
        self._send_queue(exchange)
        for sent in (self.leases, self._new_states, self._states):
            sent.clear()
        for written in (self.history, self.actions, self.intents):
            written.clear()

    def _send_queue(self, exchange: Exchange) -> None:
        if self._completions:
            self._completed.come_from(_send(exchange, _COMPLETIONS, self._completions))
            self._completions, self._completed = [], Answers(2)
        for routes, (claims, answers) in self._claims.items():
            columns = [list(column) for column in zip(*claims, strict=True)]
            if routes:
                sent = exchange.execute(_CLAIMS, (len(claims), list(routes), *columns))
            else:
                sent = exchange.execute(_CLAIMS_OF_ALL, (len(claims), *columns))
            answers.come_from(sent)
        self._claims.clear()


def _send(exchange: Exchange, statement: LiteralString, rows: list[Row]) -> Answer:
    columns = [list(column) for column in zip(*rows, strict=True)]
    return exchange.execute(statement, columns)


def _lease_row(row: LeaseRow) -> Row:
    return (
        row.workflow_id,
        row.fence,
        row.lease_id,
        row.request_id,
        row.holder,
        row.ttl_us,
        row.expires_us,
    )
