// node -r ./watched.cjs jitsu.mjs URL KEY: page, identify, track and group through @jitsu/js as a server.
import { createRequire } from "node:module";
const { jitsuAnalytics } = createRequire(import.meta.url)("@jitsu/js");
const [url, writeKey] = process.argv.slice(2);
let failed = 0;
const counted = async (...args) => {
  const answered = await fetch(...args);
  if (answered.status !== 200) failed += 1;
  return answered;
};
const client = jitsuAnalytics({ host: url, writeKey, s2s: true, fetch: counted, privacy: { consentCategories: { analytics: true, marketing: true } } });
await client.identify("jitsu-1", { email: "jitsu@example.com" });
await client.page({ name: "Home", url: "https://shop.example/" });
await client.track("Order Completed", { order_id: "J-1", revenue: 12.5, currency: "EUR" });
await client.group("g1", { name: "Team" });
console.log(`SENT ${JSON.stringify({ sent: 4, failed })}`);
