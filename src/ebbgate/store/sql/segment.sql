-- One segment of the ingest log. Everything is appended; nothing has a random-order index while it is written, because that
-- is what decays (specs/performance.md §4). Sealed at a size or age, indexed then, and in the end unlinked whole.

-- name: schema
-- One row an event: where it goes, what finds it, and what is its own of its log entry. Scanned for keys, counts and sparse
-- destinations without touching payloads. Its entry's number in the log is `base` of `meta` + id, in one counter over all files.
CREATE TABLE events(
  id         INTEGER PRIMARY KEY,    -- position = segment << 32 | id; grows, with gaps where other files hold entries
  at         INTEGER NOT NULL,       -- receipt, milliseconds
  mask       INTEGER NOT NULL,       -- bits of the destinations that get it; 0: none, or a duplicate
  ends       INTEGER,                -- in `ends`; NULL: its body is the whole map
  form       INTEGER,                -- in `forms`; NULL: `own` is the whole entry
  t          INTEGER NOT NULL,       -- of the entry, seconds since 1970, 0 without a form
  conversion INTEGER NOT NULL,       -- 1: its claims are kept for the whole duplicate window
  key        BLOB NOT NULL,          -- HMAC of site and event id
  subject    BLOB NOT NULL,          -- HMACs of the person and browser, x'' unknown
  claims     BLOB NOT NULL,          -- keys that it claims, 16 bytes each
  own        BLOB NOT NULL           -- digests of the entry's commitments, 32 bytes each
) STRICT;
CREATE TABLE bodies(                 -- of events in a row, many in one ciphertext
  first INTEGER PRIMARY KEY,         -- id of the first of them
  body  BLOB NOT NULL                -- sealed list of (id, key, what all its payloads begin with, or the map: destination -> payload)
) STRICT;
CREATE TABLE openings(               -- what opens the commitments of entries in a row
  first INTEGER PRIMARY KEY,
  body  BLOB NOT NULL                -- sealed: evidence, each once, and a list of (id, opening, its evidence); what was deleted is not in it
) STRICT;
CREATE TABLE ends(                   -- how the payloads of many events end
  id   INTEGER PRIMARY KEY,
  body BLOB NOT NULL                 -- sealed map: destination -> end of its payload
) STRICT;
CREATE TABLE forms(                  -- what many entries have in common: audit/entry.py, Form
  id INTEGER PRIMARY KEY, a TEXT NOT NULL, b TEXT NOT NULL, c TEXT NOT NULL, d TEXT NOT NULL, e TEXT NOT NULL, f TEXT NOT NULL
) STRICT;
CREATE VIEW log AS                   -- `body`: the canonical bytes, which the tree hashes
SELECT n.id, n.mask, n.id + (SELECT value FROM meta WHERE name = 'base') AS nseq, n.key, CASE WHEN n.form IS NULL THEN n.own ELSE CAST(
  f.a || lower(hex(substr(n.own, 1, 32))) || f.b || lower(hex(substr(n.own, 33, 32))) || f.c
  || (n.id + (SELECT value FROM meta WHERE name = 'base')) || f.d
  || lower(hex(substr(n.own, 65, 32))) || f.e || n.t || f.f AS BLOB) END AS body
FROM events n LEFT JOIN forms f ON f.id = n.form;
CREATE TABLE held(
  id      INTEGER PRIMARY KEY,       -- event << 6 | bit: never used again, also when the row is gone
  event   INTEGER NOT NULL,
  until   INTEGER NOT NULL,          -- milliseconds
  at      INTEGER NOT NULL,
  bit     INTEGER NOT NULL,
  key     BLOB NOT NULL,
  subject BLOB NOT NULL,
  payload BLOB NOT NULL              -- sealed
) STRICT;
CREATE TABLE meta(name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;

-- name: insert_event
INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: insert_bodies
INSERT INTO bodies VALUES (?, ?)

-- name: insert_openings
INSERT INTO openings VALUES (?, ?)

-- name: insert_ends
INSERT INTO ends VALUES (?, ?)

-- name: bodies_at
-- The block in which an event's body would be, and the beginning of its ciphertext, which no other has.
SELECT first, substr(body, 1, 13) FROM bodies WHERE first <= ? ORDER BY first DESC LIMIT 1

-- name: bodies
SELECT body FROM bodies WHERE first = ?

-- name: openings_at
SELECT first, substr(body, 1, 13) FROM openings WHERE first <= ? ORDER BY first DESC LIMIT 1

-- name: openings
SELECT body FROM openings WHERE first = ?

-- name: ends
SELECT body FROM ends WHERE id = ?

-- name: insert_form
INSERT INTO forms VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: insert_held
INSERT INTO held(id, event, until, at, bit, key, subject, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: delete_held
DELETE FROM held WHERE id = ?

-- name: all_held
SELECT id, event, until, at, bit, subject, key, length(payload) FROM held ORDER BY id

-- name: held_payload
SELECT payload FROM held WHERE id = ?

-- name: get_meta
SELECT value FROM meta WHERE name = ?

-- name: put_meta
INSERT INTO meta VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value

-- name: last
SELECT (SELECT coalesce(max(id), 0) FROM events), (SELECT at FROM events ORDER BY id DESC LIMIT 1),
       (SELECT coalesce(max(id), 0) FROM forms), (SELECT coalesce(max(id), 0) FROM ends)

-- name: count
SELECT count(*) FROM events

-- name: claims
SELECT conversion, claims FROM events WHERE claims <> x''

-- name: count_claims
SELECT coalesce(sum(length(claims)), 0) / 16 FROM events

-- name: index_keys
-- Buckets of keys by their last two bytes, made without holding the interpreter for more than a row.
WITH RECURSIVE starts(start) AS (
  VALUES (1) UNION ALL SELECT start + 16 FROM starts WHERE start + 16 < (SELECT max(length(claims)) FROM events)
)
SELECT hex(substr(claims, start + 14, 2)), group_concat(hex(substr(claims, start, 16)), '')
FROM events, starts WHERE start < length(claims) AND conversion >= ? GROUP BY 1 ORDER BY 1

-- name: index_events
-- Only on a sealed segment: built once, in order.
CREATE INDEX IF NOT EXISTS events_key ON events(key)

-- name: counts
SELECT mask, count(*), min(id) FROM events WHERE id > ? GROUP BY mask

-- name: page
SELECT id, at, key, subject, ends FROM events WHERE id > ? AND id <= ? AND mask & ? ORDER BY id LIMIT ?

-- name: oldest
SELECT at FROM events WHERE id > ? AND mask & ? ORDER BY id LIMIT 1

-- name: by_key
SELECT mask, nseq, key, body, id FROM log WHERE key = ? ORDER BY id

-- name: held_by_key
SELECT bit FROM held WHERE key = ?

-- name: log_from
SELECT nseq, key, body, id FROM log WHERE id > ? - (SELECT value FROM meta WHERE name = 'base') ORDER BY id LIMIT ?

-- name: log_before
SELECT nseq, key, body, id FROM log WHERE id < ? - (SELECT value FROM meta WHERE name = 'base') ORDER BY id DESC LIMIT ?

-- name: span
SELECT coalesce((SELECT min(id) FROM events) + value, 0), coalesce((SELECT max(id) FROM events) + value, 0) FROM meta WHERE name = 'base'
