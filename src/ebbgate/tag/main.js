// ebbgate's browser tag: `ebb('event', …)` and its few sisters. Nothing leaves and nothing is stored before consent is known.
import { answers, known, look, refused, snapshot, start, tell } from "./consent.js";
import { base, debug, note, options, w } from "./env.js";
import { watchGestures } from "./gestures.js";
import { choose, counts, drop, put, restamp, waiting } from "./outbox.js";
import { landing, page, watchPages } from "./pages.js";

const MOST_HELD = 200;

let held = []; // [event, then]: made before consent was known
let common = {}; // of ebb('set', …)
let before = {}; // the answers at the last look
let reported; // what the gateway was told by this page

// Which answers the gateway was told, so that a withdrawal on another page is seen. Kept only after a grant, removed with it.
function mark(value) {
  try {
    if (value) localStorage.ebb = value;
    else if (value == "") delete localStorage.ebb, delete localStorage.ebb_s;
    return localStorage.ebb;
  } catch {
    // Storage may be shut: then every page tells the gateway anew.
  }
}

// The second in which the session began; half an hour of silence ends it. In memory, and beside the mark where there is one.
let session = [];
function sessionId() {
  const now = Math.floor(Date.now() / 1e3);
  const kept = mark() ? localStorage : {};
  session = kept.ebb_s?.split(",") || session;
  kept.ebb_s = session = [now - session[1] < 1800 ? session[0] : now, now];
  return "" + session[0];
}

// A visitor who refused everything: the browser keeps it to itself, unless the site wants its gateway to decide and record it.
const stopped = () => known() && refused() && options.refused != "send";

function merge(into, from) {
  for (const k in from) into[k] = from[k]?.constructor == Object ? merge({ ...into[k] }, from[k]) : from[k];
  return into;
}

function event(name, data, then) {
  const made = merge(merge({ event: name, time: new Date().toISOString(), page: page(), ...landed }, common), data);
  // An order's own number stays the same when its page is loaded again; else 128 random bits.
  made.id ||= (name == "purchase" && made.order?.id) || crypto.getRandomValues(new Uint32Array(4)).join("-");
  note("event", made);
  look();
  if (known()) send(made, then);
  else if (held.push([made, then]) > MOST_HELD) held.shift();
}

function send(made, then) {
  if (stopped()) return;
  made.consent = snapshot();
  made.visitor = { session_id: sessionId(), ...made.visitor };
  put(made);
  // For the platforms' own pixels: the same id on both ways is what lets them count once.
  then?.(made.id, made);
}

// Consent became known, or changed.
function changed() {
  if (!known()) return;
  const now = answers();
  const text = JSON.stringify(now);
  const old = reported || mark();
  if (text != "{}" && text != old && (old || !refused())) {
    const no = refused();
    reported = text;
    choose({ consent: snapshot(), visitor: common.visitor, user: common.user }, () => mark(no ? "" : text));
  }
  if (Object.keys(before).some((k) => before[k] && !now[k])) restamp(snapshot());
  before = now;
  if (stopped()) drop();
  held.splice(0).forEach((one) => send(...one));
}

const state = () => ({ consent: known() ? snapshot() : null, held: held.length, waiting: waiting(), ...counts });

const status = (then) =>
  fetch(base + "status", { credentials: "include" })
    .then((response) => response.json())
    .then((told) => {
      told = { ...told, optOutHonored: told.opt_out_honored, ...state() };
      then?.(told);
      return told;
    });

const commands = {
  event,
  page: (data, then) => event("page_view", data, then),
  consent: tell,
  set: (data) => merge(common, data),
  status,
  debug: () => debug(state()),
};

const ebb = (command, ...rest) => commands[command](...rest);
const stub = w.ebb;
let landed;
// A second copy of the script does nothing.
if (!stub?.status) {
  landed = landing();
  w.ebb = Object.assign(ebb, commands);
  start(changed);
  stub?.q?.forEach((call) => ebb(...call));
  if (options.auto != "0") watchPages(() => event("page_view"));
  watchGestures(event);
}
