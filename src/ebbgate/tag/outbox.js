// What waits to be sent: in memory only, one request at a time, a choice before any event.
//
// An answer that says "later" (408, 429, 5xx) or no answer keeps everything for another try, with growing pauses. Every event has its
// id, so one that arrives twice is a duplicate to the gateway and never counts twice.
import { base, d, note, on, w } from "./env.js";

const MOST = 500; // events kept; the oldest goes first
const BATCH = 25; // events in a request
const ROOM = 16e3; // characters in a request: browsers give keepalive requests and beacons 64 KiB together, 3 bytes a character at most

export const counts = { sent: 0, lost: 0 };
let queue = [];
let choice; // [body, done]: a choice that the gateway does not have yet
let flying; // while a request is under way: what it carries that outlives the page
let most = BATCH; // 1 once a batch was refused: one bad event takes no other with it
let failures = 0;
let timer;
let left; // what was handed to beacons since the page was hidden; undefined while it is in view

const soon = () => queueMicrotask(left ? leave : pump);

export const waiting = () => queue.length;

export function put(event) {
  if (queue.push(event) > MOST) {
    queue.shift();
    counts.lost++;
  }
  soon();
}

// Tell the gateway what the visitor decided; `done` is called once it has it. A newer choice takes the place of one not sent yet.
export function choose(body, done) {
  choice = [body, done];
  soon();
}

// Everything was refused: what has not left the page never will.
export function drop() {
  counts.lost += queue.length;
  queue = [];
}

// Something was taken back: events that have not left the page go with the newer answer.
export const restamp = (consent) => queue.forEach((event) => (event.consent = consent));

// All that waits but for what is gone already.
const pending = (gone) => [choice, ...queue].filter((one) => one && !gone.includes(one));

// [what fits into one request, its body, its path]: a choice alone, or as many events as there is room for.
function pack(rest) {
  if (rest[0] == choice) return [[choice], JSON.stringify(choice[0]), "consent?quiet=1"];
  const texts = [];
  let room = ROOM;
  rest.slice(0, most).every((event) => {
    const text = JSON.stringify(event);
    room -= text.length;
    return (room > 0 || !texts[0]) && texts.push(text);
  });
  return [rest.slice(0, texts.length), `{"sent_at":"${new Date().toISOString()}","events":[${texts}]}`, "v1/events"];
}

function pump() {
  clearTimeout(timer);
  const rest = pending([]);
  if (flying || !rest[0]) return;
  const [carried, body, path] = pack(rest);
  // Other scripts of the page may have used up what it can keep alive: then it is tried without.
  const keepalive = !failures && body.length < 2e4;
  flying = keepalive ? carried : [];
  const answered = ({ status, headers }) => {
    flying = 0;
    note("answer", status);
    if (!(status < 500) || status == 408 || status == 429) {
      const pause = Math.min(60, +headers?.get("retry-after") || 2 ** failures++ / 2);
      timer = setTimeout(pump, 1e3 * pause * (1 + Math.random()));
      return;
    }
    failures = 0;
    const taken = status < 300;
    const done = carried[0][1]; // of a choice
    if (done) {
      if (choice == carried[0]) choice = 0;
      if (taken) done();
    } else if (taken || !carried[1]) {
      queue = queue.filter((event) => !carried.includes(event));
      counts[taken ? "sent" : "lost"] += carried.length;
    } else most = 1;
    pump();
  };
  fetch(base + path, { method: "POST", body, keepalive, credentials: "include" })
    // Until its answer is read a request counts against what a page may keep alive.
    .then((response) => response.text().then(() => response))
    .then(answered, answered);
}

// The page is hidden, perhaps for good. What a beacon carries stays queued: its answer cannot be read, and the page may come back.
function leave() {
  left ||= [];
  const rest = pending(left.concat(flying || []));
  if (!rest[0]) return;
  const [carried, body, path] = pack(rest);
  if (navigator.sendBeacon(base + path, body)) {
    left.push(...carried);
    leave();
  }
}

function back() {
  left = 0;
  pump();
}

on(w, "pagehide", leave);
on(w, "pageshow", back);
on(d, "visibilitychange", () => (d.hidden ? leave() : back()));
