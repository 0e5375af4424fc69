-- What stays of a pruned segment: its log and the keys that find an entry. No payload.

-- name: schema
CREATE TABLE events(
  id INTEGER PRIMARY KEY, at INTEGER NOT NULL, mask INTEGER NOT NULL, form INTEGER, t INTEGER NOT NULL, key BLOB NOT NULL,
  subject BLOB NOT NULL, own BLOB NOT NULL
) STRICT;
CREATE TABLE openings(first INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
CREATE TABLE forms(
  id INTEGER PRIMARY KEY, a TEXT NOT NULL, b TEXT NOT NULL, c TEXT NOT NULL, d TEXT NOT NULL, e TEXT NOT NULL, f TEXT NOT NULL
) STRICT;
CREATE VIEW log AS                   -- `body`: the canonical bytes, which the tree hashes
SELECT n.id, n.mask, n.id + (SELECT value FROM meta WHERE name = 'base') AS nseq, n.key, CASE WHEN n.form IS NULL THEN n.own ELSE CAST(
  f.a || lower(hex(substr(n.own, 1, 32))) || f.b || lower(hex(substr(n.own, 33, 32))) || f.c
  || (n.id + (SELECT value FROM meta WHERE name = 'base')) || f.d
  || lower(hex(substr(n.own, 65, 32))) || f.e || n.t || f.f AS BLOB) END AS body
FROM events n LEFT JOIN forms f ON f.id = n.form;
CREATE TABLE meta(name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;

-- name: attach
ATTACH ? AS segment

-- name: copy_events
INSERT INTO events SELECT id, at, mask, form, t, key, subject, own FROM segment.events ORDER BY id

-- name: copy_openings
INSERT INTO openings SELECT first, body FROM segment.openings ORDER BY first

-- name: copy_forms
INSERT INTO forms SELECT id, a, b, c, d, e, f FROM segment.forms ORDER BY id

-- name: copy_meta
-- The sealed key indexes: duplicates are still known until the window ends.
INSERT INTO meta SELECT name, value FROM segment.meta

-- name: index_events
CREATE INDEX events_key ON events(key)

-- name: detach
DETACH segment
