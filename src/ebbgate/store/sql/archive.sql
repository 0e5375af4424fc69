-- What stays of a pruned segment: its log and the keys that find an entry. No payload.

-- name: schema
CREATE TABLE log(nseq INTEGER PRIMARY KEY, key BLOB NOT NULL, body BLOB NOT NULL, opening BLOB) STRICT;
CREATE TABLE events(id INTEGER PRIMARY KEY, nseq INTEGER NOT NULL, mask INTEGER NOT NULL, at INTEGER NOT NULL,
  key BLOB NOT NULL, subject BLOB NOT NULL) STRICT;
CREATE TABLE meta(name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;

-- name: attach
ATTACH ? AS segment

-- name: copy_log
INSERT INTO log SELECT nseq, key, body, opening FROM segment.log ORDER BY nseq

-- name: copy_events
INSERT INTO events SELECT id, nseq, mask, at, key, subject FROM segment.events ORDER BY id

-- name: copy_meta
-- The sealed key indexes: duplicates are still known until the window ends.
INSERT INTO meta SELECT name, value FROM segment.meta

-- name: index_events
CREATE INDEX events_key ON events(key)

-- name: detach
DETACH segment
