-- What is pending is counted by route, too; what is not has route ''.
ALTER TABLE tally ADD COLUMN route text COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE tally DROP CONSTRAINT tally_pkey;
DELETE FROM tally WHERE state = 1;
INSERT INTO tally (slot, state, priority, route, count)
  SELECT 0, 1, priority, route, count(*) FROM (
    SELECT priority, route FROM intent WHERE state = 1
    UNION ALL SELECT priority, route FROM intent WHERE state IN (2, 3) AND state = 2
    UNION ALL SELECT priority, route FROM intent WHERE order_key <> '' AND state < 5 AND state = 4
  ) AS pending GROUP BY priority, route;
ALTER TABLE tally ADD PRIMARY KEY (slot, state, priority, route);
