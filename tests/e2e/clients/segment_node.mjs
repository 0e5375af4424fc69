// node -r ./watched.cjs segment_node.mjs URL KEY: one call of each kind through @segment/analytics-node.
import { Analytics } from "@segment/analytics-node";
const [url, writeKey] = process.argv.slice(2);
const analytics = new Analytics({ writeKey, host: url, path: `${new URL(url).pathname}/v1/batch`, flushAt: 3 });
let failed = 0;
analytics.on("error", () => (failed += 1));
const consent = { consent: { categoryPreferences: { analytics: true, marketing: true } } };
analytics.identify({ userId: "node-1", traits: { email: "node@example.com" }, context: consent });
analytics.track({
  userId: "node-1", event: "Order Completed", context: consent,
  properties: { order_id: "N-1", email: "node@example.com", revenue: 12.5, currency: "EUR", products: [{ product_id: "S1", price: 6.25, quantity: 2 }] },
});
analytics.page({ userId: "node-1", name: "Home", properties: { url: "https://shop.example/" }, context: consent });
analytics.screen({ userId: "node-1", name: "Start", context: consent });
analytics.group({ userId: "node-1", groupId: "g1", traits: { name: "Team" }, context: consent });
analytics.alias({ userId: "node-1", previousId: "node-0", context: consent });
for (let n = 0; n < 4; n += 1) analytics.track({ anonymousId: `anon-${n}`, event: "Product Viewed", properties: { product_id: "S1" }, context: consent });
await analytics.closeAndFlush();
console.log(`SENT ${JSON.stringify({ sent: 10, failed })}`);
