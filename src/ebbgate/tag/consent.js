// What the visitor allowed, as far as this page knows it. Until a source has answered, nothing is known and nothing leaves.
//
// Every source gives two things: its part of the consent object that events carry (the gateway alone judges it), and its answers as
// flags, from which the tag sees that something changed or that everything was refused. An answer only the gateway can read is one
// flag that is true.
import { d, on, options, w } from "./env.js";

const parts = {}; // by the name of the source
const flagged = {};
const expected = {}; // consent API that is there → 1 until it has answered
let decided; // the site said so with ebb('consent', …), or data-wait is over
let changed;

function learn(name, part, flags) {
  parts[name] = part;
  flagged[name] = flags;
  expected[name] = 0;
  changed();
}

const all = (of) => Object.assign({}, ...Object.values(of));

// The answers of all sources that answered: {} before any has.
export const answers = () => all(flagged);
const words = () => Object.values(answers());

export const known = () => !d.prerendering && (decided || (words().length && !Object.values(expected).some((yes) => yes)));
export const refused = () => words().length && !words().some((yes) => yes);

// The consent object of an event of this moment.
export const snapshot = () => ({ ...all(parts), gpc: navigator.globalPrivacyControl });

// ebb('consent', {analytics: 'granted', …}), or the consent object of an event with its own keys.
export function tell(given) {
  // A consent string is an answer that only the gateway can read.
  const strings = Object.keys(given).filter((name) => /^(tcf|gpp|us_p|gc[sd])/.test(name));
  const whole = given.purposes || given.categories || strings[0];
  const flags = {};
  const purposes = {};
  Object.entries(whole ? { ...given.purposes, ...given.categories } : given).forEach(([name, answer]) => {
    purposes[name] = answer === true ? "granted" : answer || "denied";
    flags[name] = purposes[name] == "granted";
  });
  strings.forEach((name) => (flags[given[name]] = 1));
  decided = 1;
  learn("site", whole ? given : { purposes }, flags);
}

// Google's consent mode, as gtag('consent', …) pushes it. A default is what holds before the visitor chose: it answers nothing.
const SIGNALS = ["ad_storage", "analytics_storage", "ad_user_data", "ad_personalization"];
const LETTERS = "lmn_pqr_tuv"; // of gcd: 4·default + update, each 1 unset, 2 denied, 3 granted (specs/consent.md §4.2)
const modes = [5, 5, 5, 5]; // 4·default + update of each
let updated;

function google(command) {
  const told = command?.[2];
  if (command?.[0] != "consent" || !told) return;
  const update = command[1] == "update";
  updated ||= update;
  const flags = {};
  const letters = SIGNALS.map((name, i) => {
    const state = { denied: 2, granted: 3 }[told[name]];
    const mode = modes[i];
    // Which region this is the page cannot know: of defaults for some regions, and of several defaults, only refusals count.
    if (state)
      if (update) modes[i] = (mode & 12) + state;
      else if (state < 3 || !(told.region || mode > 7)) modes[i] = (mode & 3) + 4 * state;
    flags[name] = modes[i] % 4 == 3 || modes[i] == 13;
    return "1" + LETTERS[modes[i] - 5];
  });
  learn("google", { gcd: `1${letters.join("")}5` }, updated ? flags : {});
}

// Cookies of consent platforms that tell of a choice, as far as they change with it. Only the gateway reads what is in them: they come
// with every request. Didomi's before any choice ends in `"version":null}`, which is always in the same place of its base64 text.
const COOKIES =
  /interactionCount=[1-9]\d*|(action:yes|CookieConsent=[^;]*explicit|axeptio_cookies=[^;]*d%22(:|%3A)t|CONSENTMGR=[^;]*consent:|\b(OptanonAlert|cmplz_|wp_consent_|didomi_token(?![^;]*udWxsf)|klaro|cc_cookie|_iub_cs-|CookieInf|eu(pub)?consent-v2|notice_gdpr|__hs_cookie)[\w-]*=)[^;]*/g;
// OneTrust asks again, or Complianz has written its defaults.
const UNDECIDED = /Reconsent=t|^(?!.*=dismissed).*cmplz_/;

// Platforms whose choice no server can read: their own words for what is allowed. Each throws while the platform is not there.
const platforms = [
  () => w.UC_UI.isConsentRequired() || w.UC_UI.getServicesBaseInfo().map((at) => [at.categorySlug, at.consent.status]),
  () => Object.entries(w.Shopify.customerPrivacy.currentVisitorConsent()),
];

// An API of the IAB that has turned up: from now on its answer is waited for.
function ask(api, given, heard) {
  if (!w[api] || api in expected) return;
  expected[api] = 1;
  w[api]("addEventListener", ...given, (told, ok) => ok && heard(told));
}

// Look at everything that may be there by now. Looking again at the same changes nothing.
export function look() {
  ask("__tcfapi", [2], (data) => {
    const applies = data.gdprApplies !== false;
    if (/loaded|complete/.test(data.eventStatus))
      learn(
        "__tcfapi",
        { tcf: data.tcString, gdpr_applies: applies, addtl_consent: data.addtlConsent },
        applies ? { t: 0, ...data.purpose.consents } : { t: 1 },
      );
  });
  ask("__gpp", [], ({ pingData: { signalStatus, gppString, applicableSections } }) => {
    if (signalStatus == "ready") learn("__gpp", { gpp: gppString || undefined, gpp_sid: applicableSections }, { [gppString]: 1 });
  });
  const cookies = d.cookie.match(COOKIES);
  if (cookies && !UNDECIDED.test(d.cookie)) learn("cookies", {}, { [cookies]: 1 });
  platforms.forEach((read, i) => {
    try {
      const categories = {};
      // Of several services in a category, one refused is the category refused.
      read().forEach(([k, v]) => v === "" || (categories[k] = (v === true || v == "yes") && categories[k] !== false));
      if (Object.keys(categories)[0]) learn(i, { categories }, { ...categories, essential: 0 });
    } catch {
      // Not there, or not ready: it has not answered.
    }
  });
}

export function start(listener) {
  changed = listener;
  look();
  const layer = (w.dataLayer ||= []);
  layer.forEach(google);
  const push = layer.push;
  layer.push = (...commands) => {
    look(); // a banner's API that is there by now is waited for
    commands.forEach(google);
    return push.apply(layer, commands);
  };
  // A choice in a banner is a click; what a banner writes later is seen by the next look, at the latest when the page is left.
  ["click", "visibilitychange"].forEach((name) => on(w, name, () => setTimeout(look, look())));
  on(d, "prerenderingchange", changed);
  setInterval(look, 500);
  if (options.wait)
    setTimeout(() => {
      decided = 1;
      changed();
    }, options.wait);
}
