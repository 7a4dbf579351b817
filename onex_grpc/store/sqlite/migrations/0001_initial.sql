-- Times are microseconds since the Unix epoch by the store's clock.

CREATE TABLE meta (
  one       INTEGER PRIMARY KEY CHECK (one = 1),
  clock_us  INTEGER NOT NULL,
  fence     INTEGER NOT NULL  -- the highest that was ever issued
) STRICT;
INSERT INTO meta VALUES (1, 0, 0);

-- The highest fence known of each workflow. expires_us is NULL where another store issued the lease.
CREATE TABLE workflow (
  workflow_id  TEXT PRIMARY KEY,
  fence        INTEGER NOT NULL,
  lease_id     TEXT NOT NULL,
  request_id   TEXT NOT NULL DEFAULT '',
  holder       TEXT NOT NULL DEFAULT '',
  ttl_us       INTEGER NOT NULL DEFAULT 0,
  expires_us   INTEGER
) STRICT, WITHOUT ROWID;

-- The bytes of each version are written once, to history.
CREATE TABLE state (
  id       INTEGER PRIMARY KEY,
  key      TEXT NOT NULL UNIQUE,
  version  INTEGER NOT NULL,
  open     INTEGER NOT NULL
) STRICT;
CREATE INDEX state_open ON state (key) WHERE open = 1;

CREATE TABLE history (
  id          INTEGER PRIMARY KEY,
  state_id    INTEGER NOT NULL,
  version     INTEGER NOT NULL,
  kind        TEXT NOT NULL,
  fence       INTEGER NOT NULL,
  written_us  INTEGER NOT NULL,
  state_type  TEXT NOT NULL,
  state       BLOB NOT NULL,
  UNIQUE (state_id, version)
) STRICT;

CREATE TABLE action (
  id                INTEGER PRIMARY KEY,
  scope             TEXT NOT NULL,
  action_id         TEXT NOT NULL,
  content_hash      BLOB NOT NULL,
  action_type       INTEGER NOT NULL,
  target            TEXT NOT NULL,
  correlation_id    TEXT NOT NULL,
  issued_us         INTEGER NOT NULL,
  fence             INTEGER NOT NULL,
  basis             INTEGER,           -- the epoch that the action stated
  lease_id          TEXT NOT NULL,
  parent_action_id  TEXT NOT NULL,
  request           BLOB NOT NULL,
  reply             BLOB NOT NULL,
  error             BLOB NOT NULL,
  epoch             INTEGER NOT NULL,  -- the version that it led to
  history_id        INTEGER,           -- NULL for a failure
  finished_us       INTEGER NOT NULL,
  UNIQUE (scope, action_id)
) STRICT;

-- state: 1 ready, 2 scheduled, 3 in flight, 4 blocked by an earlier one of its order_key, 5 completed, 6 dead.
-- A claim reads intent_ready from its head: what cannot be claimed now does not stand in it.
CREATE TABLE intent (
  seq             INTEGER PRIMARY KEY,
  intent_id       TEXT NOT NULL UNIQUE,
  state           INTEGER NOT NULL,
  priority        INTEGER NOT NULL,
  rank_us         INTEGER NOT NULL,
  timed_us        INTEGER NOT NULL,    -- end of the wait (2) or of the visibility (3); when it ended (5, 6)
  attempts        INTEGER NOT NULL,
  max_attempts    INTEGER NOT NULL,
  claim           TEXT NOT NULL,
  worker          TEXT NOT NULL,
  order_key       TEXT NOT NULL,
  created_us      INTEGER NOT NULL,
  correlation_id  TEXT NOT NULL,
  traceparent     TEXT NOT NULL,
  payload         BLOB NOT NULL,
  last_error      BLOB NOT NULL
) STRICT;
CREATE INDEX intent_ready ON intent (rank_us, seq) WHERE state = 1;
CREATE INDEX intent_timed ON intent (timed_us) WHERE state IN (2, 3);
CREATE INDEX intent_ordered ON intent (order_key, seq) WHERE order_key <> '' AND state < 5;
CREATE INDEX intent_dead ON intent (seq) WHERE state = 6;

CREATE TABLE event (
  seq           INTEGER PRIMARY KEY,
  topic         TEXT NOT NULL,
  event_id      TEXT NOT NULL,
  published_us  INTEGER NOT NULL,
  payload       BLOB NOT NULL,
  UNIQUE (topic, event_id)
) STRICT;
CREATE INDEX event_topic ON event (topic, seq);

CREATE TABLE outcome (
  id            INTEGER PRIMARY KEY,
  key           TEXT NOT NULL UNIQUE,
  content_hash  BLOB NOT NULL,
  reply         BLOB NOT NULL,
  recorded_us   INTEGER NOT NULL
) STRICT;

CREATE TABLE secret (
  name   TEXT PRIMARY KEY,
  value  BLOB NOT NULL
) STRICT, WITHOUT ROWID;
