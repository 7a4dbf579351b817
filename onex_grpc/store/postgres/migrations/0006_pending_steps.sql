-- Steps of open workflows that were sent and have not ended; id is the order of their first recording. A writer
-- has locked the workflow's row.
CREATE TABLE pending_steps (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  workflow_id  text COLLATE "C" NOT NULL,
  action_id    text COLLATE "C" NOT NULL,
  step_id      text NOT NULL,
  target       text NOT NULL,
  attempts     bigint NOT NULL,
  issued_us    bigint NOT NULL,  -- by the wall clock of the host that sent it
  due_us       bigint,           -- the end of the time that bounds the step
  retry_at_us  bigint,           -- NULL while an attempt is under way
  error        bytea NOT NULL,
  UNIQUE (workflow_id, action_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);
