-- Who wrote a version, what for, and the ids of the intents that it emitted, one a line.
ALTER TABLE history ADD COLUMN holder TEXT NOT NULL DEFAULT '';
ALTER TABLE history ADD COLUMN lease_id TEXT NOT NULL DEFAULT '';
ALTER TABLE history ADD COLUMN action_id TEXT NOT NULL DEFAULT '';
ALTER TABLE history ADD COLUMN parent_action_id TEXT NOT NULL DEFAULT '';
ALTER TABLE history ADD COLUMN intents TEXT NOT NULL DEFAULT '';
ALTER TABLE action ADD COLUMN holder TEXT NOT NULL DEFAULT '';

-- Versions that pruning keeps.
CREATE TABLE checkpoint (
  state_id   INTEGER NOT NULL,
  name       TEXT NOT NULL,
  version    INTEGER NOT NULL,
  pinned_us  INTEGER NOT NULL,
  PRIMARY KEY (state_id, name)
) STRICT, WITHOUT ROWID;

-- How often an operator has given an intent new attempts. States: 7 is cancelled.
ALTER TABLE intent ADD COLUMN redrives INTEGER NOT NULL DEFAULT 0;

-- Counts of intents by what the queue shows of their state: 1 pending, 2 in flight, 3 completed, 4 dead, 6 cancelled.
-- Completed and cancelled ones are counted for ever, also when their rows are gone.
CREATE TABLE tally (
  state     INTEGER NOT NULL,
  priority  INTEGER NOT NULL,
  count     INTEGER NOT NULL,
  PRIMARY KEY (state, priority)
) STRICT, WITHOUT ROWID;
INSERT INTO tally
  SELECT CASE state WHEN 3 THEN 2 WHEN 5 THEN 3 WHEN 6 THEN 4 ELSE 1 END, priority, count(*)
  FROM intent GROUP BY 1, 2;
