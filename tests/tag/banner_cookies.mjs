// node banner_cookies.mjs TAG: JSON lines of `Cookie` headers in, one line each out: true when the tag takes them for an answer.
import { readFileSync } from "node:fs";
import vm from "node:vm";
const tag = readFileSync(process.argv[2], "utf8");
for (const line of readFileSync(0, "utf8").trim().split("\n")) {
  let asked = false;
  const nothing = () => 0;
  const page = {
    document: { cookie: JSON.parse(line), currentScript: { src: "/e/t.js", dataset: {} }, addEventListener: nothing, referrer: "", title: "" },
    location: { href: "https://shop.example/", pathname: "/", search: "" },
    navigator: {}, history: {}, crypto: globalThis.crypto, URLSearchParams, queueMicrotask: (run) => run(), console,
    addEventListener: nothing, setTimeout: nothing, clearTimeout: nothing, setInterval: nothing, localStorage: {},
    fetch: (url) => ((asked ||= url.endsWith("v1/events") || url.includes("consent")), new Promise(nothing)),
  };
  page.window = page;
  vm.runInNewContext(tag, page);
  console.log(asked);
}
