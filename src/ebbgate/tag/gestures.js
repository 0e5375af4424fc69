// What a visitor does on the page. Each is off unless the page asks for it: by data-ebb-event on an element, by data-outbound,
// data-forms or data-scroll on the script. Names and addresses only: never what was typed, never an address's parameters.
import { d, flag, on, w } from "./env.js";

export function watchGestures(event) {
  const record = (name, properties) => event(name, { properties });
  on(d, "click", ({ target }) => {
    const at = target.closest?.("[data-ebb-event],a[href]");
    const asked = at?.closest("[data-ebb-event]");
    if (asked) {
      // data-ebb-color="red" → properties.color
      const properties = {};
      for (const k in asked.dataset) if (/^ebb./.test(k)) properties[k.slice(3).toLowerCase()] = asked.dataset[k];
      delete properties.event;
      record(asked.dataset.ebbEvent, properties);
    } else if (at && flag("outbound") && /^http/.test(at.protocol) && at.host != location.host)
      record("click", { link_url: at.origin + at.pathname, link_domain: at.host, outbound: true });
  });
  if (flag("forms"))
    on(d, "submit", ({ target }) => record("form_submit", { form_id: target.getAttribute("id"), form_name: target.getAttribute("name") }));
  if (flag("scroll")) {
    const rest = [25, 50, 75, 90];
    on(w, "scroll", () => {
      const room = d.documentElement.scrollHeight - w.innerHeight;
      while ((w.scrollY / room) * 100 >= rest[0]) record("scroll", { percent_scrolled: rest.shift() });
    });
  }
}
