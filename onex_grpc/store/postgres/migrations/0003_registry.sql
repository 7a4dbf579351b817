-- How often the registry has changed; it only grows, also where its rows are gone. Who changes it locks the row.
CREATE TABLE registry (
  one       boolean PRIMARY KEY DEFAULT true CHECK (one),
  revision  bigint NOT NULL
) WITH (fillfactor = 50);
INSERT INTO registry (revision) VALUES (0);

-- The processes that serve the nodes of the mesh.
CREATE TABLE node (
  node           text COLLATE "C" NOT NULL,  -- kind/name
  instance       text COLLATE "C" NOT NULL,
  store_id       text NOT NULL,              -- the same for all of a node
  registrar      text NOT NULL,              -- where the process holds its stream open
  payload        bytea NOT NULL,
  registered_us  bigint NOT NULL,
  PRIMARY KEY (node, instance)
);
