-- Beside the store: policy revisions that were in force, field paths that were seen, and what kinds of events came. No values.

-- name: schema
CREATE TABLE policy_files(
  digest BLOB PRIMARY KEY,  -- SHA-256 of the bytes
  body   BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE revisions(
  digest BLOB NOT NULL,     -- SHA-256 over names and digests of the files
  name   TEXT NOT NULL,
  file   BLOB NOT NULL REFERENCES policy_files(digest),
  PRIMARY KEY (digest, name)
) WITHOUT ROWID;
CREATE TABLE activations(
  id     INTEGER PRIMARY KEY,
  digest BLOB NOT NULL,
  at     INTEGER NOT NULL,  -- milliseconds
  who    TEXT NOT NULL
);
CREATE TABLE fields(
  site         TEXT NOT NULL,
  path         TEXT NOT NULL,
  first        INTEGER NOT NULL,  -- milliseconds
  last         INTEGER NOT NULL,
  count        INTEGER NOT NULL,  -- events that had it
  destinations TEXT NOT NULL,     -- JSON: destination → "eu.yaml:31", the newest
  PRIMARY KEY (site, path)
) WITHOUT ROWID;
CREATE TABLE shapes(
  digest BLOB PRIMARY KEY,  -- of the paths
  paths  TEXT NOT NULL      -- JSON list
) WITHOUT ROWID;
CREATE TABLE traffic(
  hour    INTEGER NOT NULL,  -- hours since 1970
  site    TEXT NOT NULL,
  event   TEXT NOT NULL,
  country TEXT NOT NULL,     -- "" = unknown
  region  TEXT NOT NULL,
  states  TEXT NOT NULL,     -- JSON: purpose → state
  shape   BLOB NOT NULL REFERENCES shapes(digest),
  count   INTEGER NOT NULL,
  PRIMARY KEY (hour, site, event, country, region, states, shape)
) WITHOUT ROWID

-- name: put_file
INSERT INTO policy_files(digest, body) VALUES (?, ?) ON CONFLICT DO NOTHING

-- name: put_revision
INSERT INTO revisions(digest, name, file) VALUES (?, ?, ?) ON CONFLICT DO NOTHING

-- name: put_activation
INSERT INTO activations(digest, at, who) VALUES (?, ?, ?)

-- name: activations
SELECT digest, at, who FROM activations ORDER BY id DESC

-- name: in_force
SELECT digest FROM activations WHERE at <= ? ORDER BY at DESC, id DESC LIMIT 1

-- name: revisions
SELECT DISTINCT digest FROM revisions WHERE substr(lower(hex(digest)), 1, length(?1)) = ?1

-- name: files_of
SELECT r.name, f.body FROM revisions r JOIN policy_files f ON f.digest = r.file WHERE r.digest = ? ORDER BY r.name

-- name: add_field
INSERT INTO fields(site, path, first, last, count, destinations) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT(site, path) DO UPDATE SET last = max(last, excluded.last), count = count + excluded.count,
  destinations = json_patch(destinations, excluded.destinations)

-- name: known_fields
SELECT site, path FROM fields

-- name: fields
SELECT site, path, first, last, count, destinations FROM fields ORDER BY site, path

-- name: put_shape
INSERT INTO shapes(digest, paths) VALUES (?, ?) ON CONFLICT DO NOTHING

-- name: add_traffic
INSERT INTO traffic(hour, site, event, country, region, states, shape, count) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET count = count + excluded.count

-- name: traffic
SELECT t.event, t.country, t.region, t.states, s.paths, sum(t.count) FROM traffic t JOIN shapes s ON s.digest = t.shape
WHERE t.hour >= ? GROUP BY t.event, t.country, t.region, t.states, s.paths

-- name: traffic_size
SELECT count(*) FROM traffic

-- name: forget_traffic
DELETE FROM traffic WHERE hour < ?

-- name: forget_shapes
DELETE FROM shapes WHERE digest NOT IN (SELECT shape FROM traffic)
