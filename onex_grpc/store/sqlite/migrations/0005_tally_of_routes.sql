-- What is pending is counted by route, too; what is not has route ''.
ALTER TABLE tally RENAME TO tally_before;
CREATE TABLE tally (
  state     INTEGER NOT NULL,
  priority  INTEGER NOT NULL,
  route     TEXT NOT NULL,
  count     INTEGER NOT NULL,
  PRIMARY KEY (state, priority, route)
) STRICT, WITHOUT ROWID;
INSERT INTO tally
  SELECT state, priority, '', count FROM tally_before WHERE state <> 1
  UNION ALL SELECT 1, priority, route, count(*) FROM (
    SELECT priority, route FROM intent WHERE state = 1
    UNION ALL SELECT priority, route FROM intent WHERE state IN (2, 3) AND state = 2
    UNION ALL SELECT priority, route FROM intent WHERE order_key <> '' AND state < 5 AND state = 4
  ) GROUP BY 2, 3;
DROP TABLE tally_before;
