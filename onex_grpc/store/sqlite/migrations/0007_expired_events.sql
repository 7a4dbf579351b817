-- The last position of each topic that was purged: who has read less than that has missed events.
CREATE TABLE event_expired (
  topic  TEXT PRIMARY KEY,
  seq    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
