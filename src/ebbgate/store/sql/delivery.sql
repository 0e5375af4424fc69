-- The delivery side: how far each destination is, who may deliver, what was tried, and a row for each exception only.

-- name: schema
CREATE TABLE destinations(
  bit    INTEGER PRIMARY KEY CHECK (bit BETWEEN 0 AND 62),  -- in the mask of every event
  name   TEXT NOT NULL UNIQUE,
  cursor INTEGER NOT NULL,            -- every position up to here is settled
  token  INTEGER NOT NULL DEFAULT 0,  -- fencing token of the newest lease
  until  INTEGER NOT NULL DEFAULT 0   -- end of that lease, milliseconds
) STRICT;
CREATE TABLE attempts(
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  bit      INTEGER NOT NULL,
  token    INTEGER NOT NULL,
  started  INTEGER NOT NULL,          -- milliseconds; 0: settled without a request
  finished INTEGER NOT NULL DEFAULT 0,-- 0: open
  first    INTEGER NOT NULL,          -- lowest and highest position in `refs`
  last     INTEGER NOT NULL,
  refs     BLOB NOT NULL,             -- positions, 8 bytes each, little endian
  outcomes BLOB NOT NULL DEFAULT x'', -- one byte a position: index into `words`, 0 = queued again
  words    TEXT NOT NULL DEFAULT '',  -- "outcome reason" a line, from index 1
  opened   INTEGER NOT NULL DEFAULT 0,-- nseq of its first entry, 0 none
  closed   INTEGER NOT NULL DEFAULT 0 -- nseq of its last entry
) STRICT;
CREATE INDEX attempts_open ON attempts(bit) WHERE finished = 0;
CREATE INDEX attempts_span ON attempts(bit, last, first);
CREATE TABLE exceptions(
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  bit      INTEGER NOT NULL,
  position INTEGER NOT NULL,
  dead     INTEGER NOT NULL,          -- 0: to be tried at `due`; 1: a dead letter
  due      INTEGER NOT NULL,          -- milliseconds
  at       INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  tried    INTEGER NOT NULL,          -- first attempt, milliseconds, 0 never
  died     INTEGER NOT NULL,
  outcome  TEXT NOT NULL,
  reason   TEXT NOT NULL,
  key      BLOB NOT NULL,
  subject  BLOB NOT NULL,
  payload  BLOB NOT NULL,             -- sealed: the segment may be pruned before
  UNIQUE (bit, position)
) STRICT;
CREATE INDEX exceptions_due ON exceptions(bit, dead, due);
CREATE TABLE choices(
  subject BLOB NOT NULL,
  purpose TEXT NOT NULL,
  state   TEXT NOT NULL CHECK (state IN ('granted', 'denied')),
  at      INTEGER NOT NULL,
  PRIMARY KEY (subject, purpose)
) STRICT, WITHOUT ROWID;
CREATE TABLE released(
  segment INTEGER NOT NULL,           -- a held row that was released or shredded; its bytes go next
  held    INTEGER NOT NULL,
  outcome TEXT NOT NULL,              -- '' released
  position INTEGER NOT NULL,
  bit     INTEGER NOT NULL,
  at      INTEGER NOT NULL,
  PRIMARY KEY (segment, held)
) STRICT, WITHOUT ROWID;
CREATE INDEX released_position ON released(position);
CREATE TABLE segments(
  n          INTEGER PRIMARY KEY,
  last_id    INTEGER NOT NULL,
  first_nseq INTEGER NOT NULL,
  last_nseq  INTEGER NOT NULL,
  last_at    INTEGER NOT NULL,
  counts     TEXT NOT NULL,           -- "bit:events" words, for the size of a queue
  pruned     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE log(
  nseq    INTEGER PRIMARY KEY,
  key     BLOB NOT NULL,
  body    BLOB NOT NULL,
  opening BLOB
) STRICT;
CREATE INDEX log_key ON log(key) WHERE key <> x'';

-- name: last_nseq
SELECT max((SELECT coalesce(max(nseq), 0) FROM log), (SELECT coalesce(max(last_nseq), 0) FROM segments))

-- name: insert_log
INSERT INTO log VALUES (?, ?, ?, ?)

-- name: destinations
SELECT bit, name, cursor, token, until FROM destinations ORDER BY bit

-- name: insert_destination
INSERT INTO destinations(bit, name, cursor) VALUES (?, ?, ?)

-- name: lease
UPDATE destinations SET token = ?, until = ? WHERE bit = ?

-- name: break_leases
UPDATE destinations SET until = 0

-- name: fence
SELECT cursor FROM destinations WHERE bit = ? AND token = ?

-- name: move_cursor
UPDATE destinations SET cursor = ? WHERE bit = ? AND token = ? AND cursor <= ?

-- name: insert_attempt
INSERT INTO attempts(bit, token, started, first, last, refs, opened) VALUES (?, ?, ?, ?, ?, ?, ?)

-- name: insert_settlement
INSERT INTO attempts(bit, token, started, finished, first, last, refs, outcomes, words, opened, closed)
VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: open_attempt
SELECT started, refs, token FROM attempts WHERE id = ? AND bit = ? AND finished = 0

-- name: finish_attempt
UPDATE attempts SET finished = ?, refs = ?, outcomes = ?, words = ?, closed = ?, first = ?, last = ? WHERE id = ?

-- name: open_attempts
SELECT id, started, refs FROM attempts WHERE bit = ? AND finished = 0 AND started > 0 ORDER BY id

-- name: attempts_ahead
-- What was settled or begun beyond the cursor: neither sent again nor forgotten after a crash.
SELECT started, finished, refs, outcomes FROM attempts WHERE bit = ? AND last > ? ORDER BY id

-- name: attempts_of
SELECT started, finished, refs, outcomes, words, opened, closed FROM attempts WHERE bit = ? AND last >= ? AND first <= ? ORDER BY id

-- name: delete_attempts
DELETE FROM attempts WHERE last <= ? AND finished > 0

-- name: put_exception
INSERT INTO exceptions(bit, position, dead, due, at, attempts, tried, died, outcome, reason, key, subject, payload)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT(bit, position) DO UPDATE SET dead = excluded.dead, due = excluded.due, attempts = excluded.attempts,
  tried = excluded.tried, died = excluded.died, outcome = excluded.outcome, reason = excluded.reason, payload = excluded.payload

-- name: delete_exception
DELETE FROM exceptions WHERE bit = ? AND position = ?

-- name: count_attempt
UPDATE exceptions SET attempts = attempts + 1, tried = CASE tried WHEN 0 THEN ? ELSE tried END WHERE bit = ? AND position = ?

-- name: exceptions_ahead
SELECT position FROM exceptions WHERE bit = ? AND position > ?

-- name: due_exceptions
SELECT id, position, key, subject, at, payload, attempts, tried FROM exceptions
WHERE bit = ? AND dead = 0 AND due <= ? ORDER BY due, id LIMIT ?

-- name: exception_of
SELECT dead, outcome, reason, attempts FROM exceptions WHERE bit = ? AND position = ?

-- name: exception_counts
SELECT bit, dead, count(*), min(at) FROM exceptions GROUP BY bit, dead

-- name: dead_letters
SELECT id, bit, key, outcome, reason, attempts, at, died FROM exceptions
WHERE dead = 1 AND bit = coalesce(?, bit) ORDER BY id DESC LIMIT ?

-- name: revive
UPDATE exceptions SET dead = 0, due = ?, outcome = '', reason = '', died = 0, attempts = 0, tried = 0 WHERE id = ? AND dead = 1

-- name: drop
DELETE FROM exceptions WHERE id = ? AND dead = 1

-- name: put_choice
INSERT INTO choices VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET state = excluded.state, at = excluded.at WHERE excluded.at >= choices.at

-- name: choices
SELECT purpose, state, at FROM choices WHERE subject = ?

-- name: mark_released
INSERT INTO released VALUES (?, ?, ?, ?, ?, ?)

-- name: released
SELECT segment, held FROM released

-- name: released_at
SELECT bit, outcome FROM released WHERE position = ?

-- name: put_segment
INSERT INTO segments(n, last_id, first_nseq, last_nseq, last_at, counts) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT(n) DO NOTHING

-- name: segments
SELECT n, last_id, first_nseq, last_nseq, last_at, counts, pruned FROM segments ORDER BY n

-- name: prune_segment
UPDATE segments SET pruned = 1 WHERE n = ?

-- name: log_from
SELECT nseq, key, body, opening FROM log WHERE nseq > ? ORDER BY nseq LIMIT ?

-- name: log_before
SELECT nseq, key, body, opening FROM log WHERE nseq < ? ORDER BY nseq DESC LIMIT ?

-- name: log_by_key
SELECT nseq, key, body, opening FROM log WHERE key = ? AND key <> x'' ORDER BY nseq

-- name: log_at
SELECT nseq, key, body, opening FROM log WHERE nseq = ?
