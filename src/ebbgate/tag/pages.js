// Page views: the first one, those of single-page applications, and those that come back from the back/forward cache.
import { d, on, w } from "./env.js";

let current; // address of the view on screen, without its fragment
let previous = d.referrer;

const here = () => location.href.split("#")[0];

export const page = () => ({
  url: here(),
  // Within an application the document's referrer stays the first one: what came before is the view before.
  referrer: previous,
  title: d.title,
  path: location.pathname,
});

export function watchPages(view) {
  const look = () => {
    if (here() == current) return;
    if (current) previous = current;
    current = here();
    view();
  };
  // A framework sets the title after the address: a turn later both are right.
  const soon = () => setTimeout(look);
  ["pushState", "replaceState"].forEach((name) => {
    const original = history[name];
    history[name] = (...given) => {
      soon();
      return original.apply(history, given);
    };
  });
  on(w, "popstate", soon);
  on(w, "pageshow", (event) => event.persisted && view());
  look();
}

// Click ids and UTM parameters of the address the visitor landed on, for the views after it: in memory, as long as the page lives.
export function landing() {
  const click = {};
  const campaign = {};
  new URLSearchParams(location.search).forEach((value, name) => {
    if (/^(\w*cl(ic)?k?id|[gw]braid|epik|rdt_cid|sccid|li_fat_id)$/i.test(name)) click[name.toLowerCase()] = value;
    if (/^utm_/.test(name)) campaign[name == "utm_campaign" ? "name" : name.slice(4)] = value;
  });
  return { click, campaign };
}
