-- Times are microseconds since the Unix epoch by the store's clock.
-- Keys are compared by their bytes, so that ranges of them do not depend on a locale.

-- The store's time is the server's plus offset_us, which makes up for each step back that was seen.
CREATE TABLE clock (
  one        boolean PRIMARY KEY DEFAULT true CHECK (one),
  wall_us    bigint NOT NULL,  -- the server's time that was last seen
  offset_us  bigint NOT NULL
);
INSERT INTO clock (wall_us, offset_us) VALUES (0, 0);

-- A sequence keeps its value when the transaction that took one is rolled back.
CREATE SEQUENCE fence AS bigint CACHE 1;

-- The highest fence known of each workflow. expires_us is NULL where another store issued the lease;
-- fence is 0 in a row that only serves to be locked.
CREATE TABLE workflow (
  workflow_id  text COLLATE "C" PRIMARY KEY,
  fence        bigint NOT NULL,
  lease_id     text NOT NULL,
  request_id   text NOT NULL DEFAULT '',
  holder       text NOT NULL DEFAULT '',
  ttl_us       bigint NOT NULL DEFAULT 0,
  expires_us   bigint
) WITH (fillfactor = 70);

-- The bytes of each version are written once, to history.
CREATE TABLE state (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  key      text COLLATE "C" NOT NULL UNIQUE,
  version  bigint NOT NULL,
  open     boolean NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX state_open ON state (key) WHERE open;

CREATE TABLE history (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  state_id    bigint NOT NULL,
  version     bigint NOT NULL,
  kind        text NOT NULL,
  fence       bigint NOT NULL,
  written_us  bigint NOT NULL,
  state_type  text NOT NULL,
  state       bytea NOT NULL,
  UNIQUE (state_id, version)
);

CREATE TABLE action (
  id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  scope             text COLLATE "C" NOT NULL,
  action_id         text COLLATE "C" NOT NULL,
  content_hash      bytea NOT NULL,
  action_type       integer NOT NULL,
  target            text NOT NULL,
  correlation_id    text NOT NULL,
  issued_us         bigint NOT NULL,
  fence             bigint NOT NULL,
  basis             bigint,           -- the epoch that the action stated
  lease_id          text NOT NULL,
  parent_action_id  text NOT NULL,
  request           bytea NOT NULL,
  reply             bytea NOT NULL,
  error             bytea NOT NULL,
  epoch             bigint NOT NULL,  -- the version that it led to
  failed            boolean NOT NULL,
  finished_us       bigint NOT NULL,
  UNIQUE (scope, action_id)
);

-- state: 1 ready, 2 scheduled, 3 in flight, 4 blocked by an earlier one of its order_key, 5 completed, 6 dead.
-- A claim reads intent_ready from its head: what cannot be claimed now does not stand in it.
CREATE TABLE intent (
  seq             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  intent_id       text COLLATE "C" NOT NULL CONSTRAINT intent_id_unique UNIQUE,
  state           smallint NOT NULL,
  priority        smallint NOT NULL,
  rank_us         bigint NOT NULL,
  timed_us        bigint NOT NULL,    -- end of the wait (2) or of the visibility (3); when it ended (5, 6)
  attempts        integer NOT NULL,
  max_attempts    integer NOT NULL,
  claim           text NOT NULL,
  worker          text NOT NULL,
  order_key       text COLLATE "C" NOT NULL,
  created_us      bigint NOT NULL,
  correlation_id  text NOT NULL,
  traceparent     text NOT NULL,
  payload         bytea NOT NULL,
  last_error      bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX intent_ready ON intent (rank_us, seq) WHERE state = 1;
CREATE INDEX intent_timed ON intent (timed_us) WHERE state IN (2, 3);
CREATE INDEX intent_ordered ON intent (order_key, seq) WHERE order_key <> '' AND state < 5;
CREATE INDEX intent_completed ON intent (seq) WHERE state = 5;
CREATE INDEX intent_dead ON intent (seq) WHERE state = 6;

CREATE TABLE event (
  seq           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  topic         text COLLATE "C" NOT NULL,
  event_id      text COLLATE "C" NOT NULL,
  published_us  bigint NOT NULL,
  payload       bytea NOT NULL,
  UNIQUE (topic, event_id)
);
CREATE INDEX event_topic ON event (topic, seq);

CREATE TABLE outcome (
  key           text COLLATE "C" PRIMARY KEY,
  content_hash  bytea NOT NULL,
  reply         bytea NOT NULL,
  recorded_us   bigint NOT NULL
);

CREATE TABLE secret (
  name   text COLLATE "C" PRIMARY KEY,
  value  bytea NOT NULL
);
