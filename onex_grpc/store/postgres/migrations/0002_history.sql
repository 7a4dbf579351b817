-- Who wrote a version, what for, and the ids of the intents that it emitted, one a line.
ALTER TABLE history ADD COLUMN holder text NOT NULL DEFAULT '';
ALTER TABLE history ADD COLUMN lease_id text NOT NULL DEFAULT '';
ALTER TABLE history ADD COLUMN action_id text NOT NULL DEFAULT '';
ALTER TABLE history ADD COLUMN parent_action_id text NOT NULL DEFAULT '';
ALTER TABLE history ADD COLUMN intents text NOT NULL DEFAULT '';
ALTER TABLE action ADD COLUMN holder text NOT NULL DEFAULT '';

-- Versions that pruning keeps.
CREATE TABLE checkpoint (
  state_id   bigint NOT NULL,
  name       text COLLATE "C" NOT NULL,
  version    bigint NOT NULL,
  pinned_us  bigint NOT NULL,
  PRIMARY KEY (state_id, name)
);
