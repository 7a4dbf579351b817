-- Steps of open workflows that were sent and have not ended; id is the order of their first recording.
CREATE TABLE pending_steps (
  id           INTEGER PRIMARY KEY,
  workflow_id  TEXT NOT NULL,
  action_id    TEXT NOT NULL,
  step_id      TEXT NOT NULL,
  target       TEXT NOT NULL,
  attempts     INTEGER NOT NULL,
  issued_us    INTEGER NOT NULL,  -- by the wall clock of the host that sent it
  due_us       INTEGER,           -- the end of the time that bounds the step
  retry_at_us  INTEGER,           -- NULL while an attempt is under way
  error        BLOB NOT NULL,
  UNIQUE (workflow_id, action_id)
) STRICT;
