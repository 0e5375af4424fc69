// What the visitor allowed, as far as this page knows it. Until a source has answered, nothing is known and nothing leaves.
//
// Every source gives two things: its part of the consent object that events carry (the gateway alone judges it), and its answers as
// flags, from which the tag sees that something changed or that everything was refused. An answer only the gateway can read is one
// flag that is true.
import { d, on, options, w } from "./env.js";

const sources = {}; // name → [part, flags]
const expected = {}; // consent APIs that are there and have not answered
let decided; // the site said so with ebb('consent', …), or data-wait is over
let changed;

function learn(name, part, flags) {
  sources[name] = [part, flags];
  delete expected[name];
  changed();
}

export const known = () => !d.prerendering && (decided || (answers() && !Object.keys(expected)[0]));

// The consent object of an event of this moment.
export const snapshot = () => ({
  ...Object.assign({}, ...Object.values(sources).map((source) => source[0])),
  gpc: navigator.globalPrivacyControl || undefined,
});

// The answers of all sources that answered; undefined before any has.
export function answers() {
  const flags = Object.values(sources).flatMap((source) => Object.entries(source[1]));
  return flags[0] && Object.fromEntries(flags);
}

export const refused = () => answers() && !Object.values(answers()).some((yes) => yes);

// ebb('consent', {analytics: 'granted', …}), or the consent object of an event with its own keys.
export function tell(given) {
  const whole = /purposes|categories|tcf|gpp|us_p|gc[sd]/.test(Object.keys(given));
  const flags = {};
  const purposes = {};
  Object.entries(whole ? { ...given.purposes, ...given.categories } : given).forEach(([name, answer]) => {
    purposes[name] = answer === true ? "granted" : answer || "denied";
    flags[name] = purposes[name] == "granted";
  });
  // A consent string is an answer that only the gateway can read.
  for (const k in given) if (/^(tcf|gpp|us_p|gc[sd])/.test(k)) flags[given[k]] = 1;
  decided = 1;
  learn("site", whole ? given : { purposes }, flags);
}

// Google's consent mode, as gtag('consent', …) pushes it. A default is what holds before the visitor chose: it answers nothing.
const SIGNALS = ["ad_storage", "analytics_storage", "ad_user_data", "ad_personalization"];
const LETTERS = "lmn_pqr_tuv"; // of gcd: 4·default + update, each 1 unset, 2 denied, 3 granted (specs/consent.md §4.2)
const modes = SIGNALS.map(() => [1, 1]); // [default, update] of each
let updated;

function google(command) {
  const [verb, kind, told] = command?.length ? command : [];
  if (verb != "consent" || !told) return;
  const at = kind == "update" ? 1 : 0;
  updated ||= at;
  const flags = {};
  const letters = SIGNALS.map((name, i) => {
    const mode = modes[i];
    const state = { denied: 2, granted: 3 }[told[name]];
    // Which region this is the page cannot know: of defaults for some regions, and of several defaults, only refusals count.
    if (state && (at || state == 2 || !(told.region || mode[0] > 1))) mode[at] = state;
    flags[name] = mode[mode[1] > 1 ? 1 : 0] == 3;
    return "1" + LETTERS[4 * mode[0] + mode[1] - 5];
  });
  learn("google", { gcd: `1${letters.join("")}5` }, updated ? flags : {});
}

// Cookies of consent platforms, once the visitor chose. Only the gateway reads what is in them: they come with every request.
const COOKIES =
  /(OptanonAlertBoxClosed|CookieConsent=[^;]*explicit|action:yes|cmplz_|wp_consent_|didomi_token|axeptio_cookies=[^;]*d%22%3At|klaro|cc_cookie|_iub_cs-|CookieInformationC|eu(pub)?consent-v2|notice_gdpr_prefs|CONSENTMGR|__hs_cookie_cat)[^;]*/g;
const EVENTS =
  "OneTrustGroupsUpdated CookiebotOnAccept CookiebotOnDecline cc:onChange visitorConsentCollected wp_listen_for_consent_change";

// Platforms whose choice no server can read: their own words for what is allowed. Each throws while the platform is not there.
const platforms = [
  () =>
    w.UC_UI.isConsentRequired() ||
    w.UC_UI.getServicesBaseInfo().map((service) => [service.categorySlug, service.consent.status]),
  () =>
    Object.entries(w.Shopify.customerPrivacy.currentVisitorConsent())
      .filter((entry) => entry[1])
      .map(([name, word]) => [name, word == "yes"]),
];

const seen = {};
function news(name, value) {
  const text = JSON.stringify(value);
  return seen[name] != text && (seen[name] = text);
}

// An API of the IAB that has turned up: from now on its answer is waited for.
function ask(api, ...given) {
  if (!w[api] || seen[api]) return;
  seen[api] = expected[api] = 1;
  const heard = given.pop();
  w[api]("addEventListener", ...given, (told, ok) => ok && heard(told));
}

// Look at everything that may be there by now.
export function look() {
  ask("__tcfapi", 2, (data) => {
    const applies = data.gdprApplies !== false;
    if (/loaded|complete/.test(data.eventStatus))
      learn(
        "__tcfapi",
        { tcf: data.tcString, gdpr_applies: applies, addtl_consent: data.addtlConsent },
        applies ? { t: false, ...data.purpose.consents } : { t: 1 },
      );
  });
  ask("__gpp", ({ pingData: { signalStatus, gppString, applicableSections } }) => {
    if (signalStatus == "ready") learn("__gpp", { gpp: gppString || undefined, gpp_sid: applicableSections }, { [gppString]: 1 });
  });
  const cookies = d.cookie.match(COOKIES);
  if (cookies && news("cookies", cookies)) learn("cookies", {}, { [cookies]: 1 });
  platforms.forEach((read, i) => {
    try {
      const found = read();
      const categories = {};
      // Of several services in a category, one refused is the category refused.
      found.forEach(([k, v]) => (categories[k] = v && categories[k] !== false));
      if (found[0] && news(i, categories)) learn(i, { categories }, { ...categories, essential: false });
    } catch {
      // Not there, or not ready: it has not answered.
    }
  });
}

export function start(listener) {
  changed = listener;
  look();
  const layer = (w.dataLayer = w.dataLayer || []);
  layer.forEach(google);
  const push = layer.push;
  layer.push = (...commands) => {
    look(); // a banner's API that is there by now is waited for
    commands.forEach(google);
    return push.apply(layer, commands);
  };
  EVENTS.split(" ").forEach((name) => on(w, name, () => setTimeout(look)));
  on(d, "prerenderingchange", changed);
  setInterval(look, 500);
  if (options.wait)
    setTimeout(() => {
      decided = 1;
      changed();
    }, options.wait);
}
