-- What stays of a pruned segment: its log and the keys that find an entry. No payload.

-- name: schema
CREATE TABLE entries(nseq INTEGER PRIMARY KEY, key BLOB NOT NULL, form INTEGER, t INTEGER NOT NULL, own BLOB NOT NULL, opening BLOB)
  STRICT;
CREATE TABLE forms(
  id INTEGER PRIMARY KEY, a TEXT NOT NULL, b TEXT NOT NULL, c TEXT NOT NULL, d TEXT NOT NULL, e TEXT NOT NULL, f TEXT NOT NULL
) STRICT;
CREATE VIEW log AS                   -- `body`: the canonical bytes, which the tree hashes
SELECT n.nseq, n.key, CASE WHEN n.form IS NULL THEN n.own ELSE CAST(
  f.a || lower(hex(substr(n.own, 1, 32))) || f.b || lower(hex(substr(n.own, 33, 32))) || f.c || n.nseq || f.d
  || lower(hex(substr(n.own, 65, 32))) || f.e || n.t || f.f AS BLOB) END AS body, n.opening
FROM entries n LEFT JOIN forms f ON f.id = n.form;
CREATE TABLE events(id INTEGER PRIMARY KEY, nseq INTEGER NOT NULL, mask INTEGER NOT NULL, at INTEGER NOT NULL,
  key BLOB NOT NULL, subject BLOB NOT NULL) STRICT;
CREATE TABLE meta(name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;

-- name: attach
ATTACH ? AS segment

-- name: copy_log
INSERT INTO entries SELECT nseq, key, form, t, own, opening FROM segment.entries ORDER BY nseq

-- name: copy_forms
INSERT INTO forms SELECT id, a, b, c, d, e, f FROM segment.forms ORDER BY id

-- name: copy_events
INSERT INTO events SELECT id, nseq, mask, at, key, subject FROM segment.events ORDER BY id

-- name: copy_meta
-- The sealed key indexes: duplicates are still known until the window ends.
INSERT INTO meta SELECT name, value FROM segment.meta

-- name: index_events
CREATE INDEX events_key ON events(key)

-- name: detach
DETACH segment
