-- What a worker must accept to get an intent; empty for any worker, as all were before there were routes.
-- A claim reads the head of each of its routes: what waits on others costs it nothing.
ALTER TABLE intent ADD COLUMN route TEXT NOT NULL DEFAULT '';
DROP INDEX intent_ready;
CREATE INDEX intent_ready ON intent (route, rank_us, seq) WHERE state = 1;
