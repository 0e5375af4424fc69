-- One segment of the ingest log. Everything is appended; nothing has a random-order index while it is written, because that
-- is what decays (specs/performance.md §4). Sealed at a size or age, indexed then, and in the end unlinked whole.

-- name: schema
-- `events` is narrow: it is scanned for keys, counts and sparse destinations without touching payloads.
CREATE TABLE events(
  id      INTEGER PRIMARY KEY,       -- position = segment << 32 | id
  nseq    INTEGER NOT NULL,          -- its entry in `log`
  at      INTEGER NOT NULL,          -- receipt, milliseconds
  mask    INTEGER NOT NULL,          -- bits of the destinations that get it; 0: none, or a duplicate
  key     BLOB NOT NULL,             -- HMAC of site and event id
  subject BLOB NOT NULL              -- HMAC of the person or browser, x'' unknown
) STRICT;
CREATE TABLE bodies(
  id    INTEGER PRIMARY KEY,
  ends  INTEGER,                     -- in `ends`; NULL: `body` is the whole map
  body  BLOB NOT NULL                -- sealed: what all payloads begin with, or the map: destination → payload
) STRICT;
CREATE TABLE ends(                   -- how the payloads of many events end
  id   INTEGER PRIMARY KEY,
  body BLOB NOT NULL                 -- sealed map: destination → end of its payload
) STRICT;
CREATE TABLE claims(
  id         INTEGER PRIMARY KEY,
  event      INTEGER NOT NULL,
  conversion INTEGER NOT NULL,       -- 1: kept for the whole duplicate window
  key        BLOB NOT NULL
) STRICT;
CREATE TABLE entries(
  nseq    INTEGER PRIMARY KEY,       -- one counter over all files of the store, no gaps
  key     BLOB NOT NULL,             -- of the event it is about, x'' none
  form    INTEGER,                   -- in `forms`; NULL: `own` is the whole entry
  t       INTEGER NOT NULL,          -- seconds since 1970, 0 without a form
  own     BLOB NOT NULL,             -- digests of its commitments, 32 bytes each
  opening BLOB                       -- sealed; x'' has none, NULL deleted
) STRICT;
CREATE TABLE forms(                  -- what many entries have in common: audit/entry.py, Form
  id INTEGER PRIMARY KEY, a TEXT NOT NULL, b TEXT NOT NULL, c TEXT NOT NULL, d TEXT NOT NULL, e TEXT NOT NULL, f TEXT NOT NULL
) STRICT;
CREATE VIEW log AS                   -- `body`: the canonical bytes, which the tree hashes
SELECT n.nseq, n.key, CASE WHEN n.form IS NULL THEN n.own ELSE CAST(
  f.a || lower(hex(substr(n.own, 1, 32))) || f.b || lower(hex(substr(n.own, 33, 32))) || f.c || n.nseq || f.d
  || lower(hex(substr(n.own, 65, 32))) || f.e || n.t || f.f AS BLOB) END AS body, n.opening
FROM entries n LEFT JOIN forms f ON f.id = n.form;
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
INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)

-- name: insert_body
INSERT INTO bodies VALUES (?, ?, ?)

-- name: insert_ends
INSERT INTO ends VALUES (?, ?)

-- name: ends
SELECT body FROM ends WHERE id = ?

-- name: insert_claim
INSERT INTO claims(event, conversion, key) VALUES (?, ?, ?)

-- name: insert_log
INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)

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
SELECT (SELECT coalesce(max(id), 0) FROM events), (SELECT coalesce(max(nseq), 0) FROM entries),
       (SELECT at FROM events ORDER BY id DESC LIMIT 1), (SELECT coalesce(max(id), 0) FROM forms), (SELECT coalesce(max(id), 0) FROM ends)

-- name: first_nseq
SELECT coalesce(min(nseq), 0) FROM entries

-- name: claims
SELECT conversion, key FROM claims

-- name: count_claims
SELECT count(*) FROM claims

-- name: index_keys
-- Buckets of keys by their last two bytes, made without holding the interpreter for more than a row.
SELECT hex(substr(key, 15, 2)), group_concat(hex(key), '') FROM claims WHERE conversion >= ? GROUP BY 1 ORDER BY 1

-- name: index_events
-- Only on a sealed segment: built once, in order.
CREATE INDEX IF NOT EXISTS events_key ON events(key)

-- name: counts
SELECT mask, count(*), min(id) FROM events WHERE id > ? GROUP BY mask

-- name: page
SELECT e.id, e.at, e.key, e.subject, b.ends, b.body FROM events e JOIN bodies b ON b.id = e.id
WHERE e.id > ? AND e.id <= ? AND e.mask & ? ORDER BY e.id LIMIT ?

-- name: event
SELECT e.at, e.mask, e.key, e.subject, b.body FROM events e LEFT JOIN bodies b ON b.id = e.id WHERE e.id = ?

-- name: oldest
SELECT at FROM events WHERE id > ? AND mask & ? ORDER BY id LIMIT 1

-- name: by_key
SELECT e.id, e.mask, e.at, l.nseq, l.key, l.body, l.opening FROM events e JOIN log l ON l.nseq = e.nseq WHERE e.key = ? ORDER BY e.id

-- name: held_by_key
SELECT bit FROM held WHERE key = ?

-- name: log_from
SELECT nseq, key, body, opening FROM log WHERE nseq > ? ORDER BY nseq LIMIT ?

-- name: log_before
SELECT nseq, key, body, opening FROM log WHERE nseq < ? ORDER BY nseq DESC LIMIT ?

-- name: span
SELECT coalesce((SELECT min(nseq) FROM entries), 0), coalesce((SELECT max(nseq) FROM entries), 0)
