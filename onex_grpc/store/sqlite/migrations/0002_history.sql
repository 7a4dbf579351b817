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
