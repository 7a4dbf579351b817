-- How often the registry has changed; it only grows, also where its rows are gone.
CREATE TABLE registry (
  one       INTEGER PRIMARY KEY CHECK (one = 1),
  revision  INTEGER NOT NULL
) STRICT;
INSERT INTO registry VALUES (1, 0);

-- The processes that serve the nodes of the mesh.
CREATE TABLE node (
  node           TEXT NOT NULL,     -- kind/name
  instance       TEXT NOT NULL,
  store_id       TEXT NOT NULL,     -- the same for all of a node
  registrar      TEXT NOT NULL,     -- where the process holds its stream open
  payload        BLOB NOT NULL,
  registered_us  INTEGER NOT NULL,
  PRIMARY KEY (node, instance)
) STRICT, WITHOUT ROWID;
