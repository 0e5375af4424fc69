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
let flying; // events of the request under way
let most = BATCH; // 1 once a batch was refused: one bad event takes no other with it
let failures = 0;
let timer;
let left; // events handed to beacons since the page was hidden; undefined while it is in view

const soon = () => Promise.resolve().then(left ? leave : pump);

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

// How many of these events fit into one request, and its body.
function pack(events) {
  const texts = [];
  let room = ROOM;
  events.slice(0, most).every((event) => {
    const text = JSON.stringify(event);
    room -= text.length;
    return (room > 0 || !texts[0]) && texts.push(text);
  });
  return [texts.length, `{"sent_at":"${new Date().toISOString()}","events":[${texts}]}`];
}

function pump() {
  clearTimeout(timer);
  if (flying || !(choice || queue[0])) return;
  const mine = choice;
  const [fit, body] = mine ? [0, JSON.stringify(mine[0])] : pack(queue);
  const events = (flying = queue.slice(0, fit));
  const answered = ({ status, headers }) => {
    const taken = status < 300;
    flying = 0;
    note("answer", status);
    if (!status || status == 408 || status == 429 || status > 499) {
      const pause = Math.min(30, 2 ** failures++) * (0.5 + Math.random() / 2);
      const asked = +headers?.get("retry-after") || 0;
      timer = setTimeout(pump, 1e3 * Math.min(60, Math.max(pause, asked)));
      return;
    }
    failures = 0;
    if (mine) {
      if (choice == mine) choice = 0;
      if (taken) mine[1]();
    } else if (taken || fit == 1) {
      queue = queue.filter((event) => !events.includes(event));
      counts[taken ? "sent" : "lost"] += fit;
    } else most = 1;
    pump();
  };
  fetch(base + (mine ? "consent?quiet=1" : "v1/events"), {
    method: "POST",
    body,
    keepalive: body.length < 2e4,
    credentials: "include",
  }).then(answered, answered);
}

// The page is hidden, perhaps for good. What a beacon carries stays queued: its answer cannot be read, and the page may come back.
function leave() {
  left = left || [];
  if (choice && !flying) navigator.sendBeacon(base + "consent?quiet=1", JSON.stringify(choice[0]));
  const gone = left.concat(flying || []);
  const rest = queue.filter((event) => !gone.includes(event));
  if (!rest[0]) return;
  const [fit, body] = pack(rest);
  if (navigator.sendBeacon(base + "v1/events", body)) {
    left.push(...rest.slice(0, fit));
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
