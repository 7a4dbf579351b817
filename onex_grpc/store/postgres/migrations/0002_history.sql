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

-- How often an operator has given an intent new attempts. States: 7 is cancelled.
ALTER TABLE intent ADD COLUMN redrives integer NOT NULL DEFAULT 0;

-- Counts of intents by what the queue shows of their state: 1 pending, 2 in flight, 3 completed, 4 dead, 6 cancelled.
-- Completed and cancelled ones are counted for ever, also when their rows are gone. The counts of all slots are added
-- up: writers take different ones, so that they do not wait for each other.
CREATE TABLE tally (
  slot      smallint NOT NULL,
  state     smallint NOT NULL,
  priority  smallint NOT NULL,
  count     bigint NOT NULL,
  PRIMARY KEY (slot, state, priority)
) WITH (fillfactor = 50);
INSERT INTO tally
  SELECT 0, CASE state WHEN 3 THEN 2 WHEN 5 THEN 3 WHEN 6 THEN 4 ELSE 1 END, priority, count(*)
  FROM intent GROUP BY 2, 3;

-- The order in which outcomes were recorded, for their removal.
ALTER TABLE outcome ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY UNIQUE;
