// node -r ./watched.cjs rudder_node.cjs URL KEY: one call of each kind through @rudderstack/rudder-sdk-node, compressed as it does.
const Analytics = require("@rudderstack/rudder-sdk-node").default ?? require("@rudderstack/rudder-sdk-node");
const [url, writeKey] = process.argv.slice(2);
let failed = 0;
const client = new Analytics(writeKey, { dataPlaneUrl: url, flushAt: 20, retryCount: 0, logLevel: "silly", errorHandler: () => (failed += 1) });
const context = { consentManagement: { provider: "oneTrust", allowedConsentIds: ["analytics", "marketing"], deniedConsentIds: [] } };
client.identify({ userId: "rudder-1", traits: { email: "rudder@example.com" }, context });
client.track({ userId: "rudder-1", event: "Order Completed", context, properties: { order_id: "R-1", email: "rudder@example.com", revenue: 12.5, currency: "EUR" } });
client.page({ userId: "rudder-1", name: "Home", properties: { url: "https://shop.example/" }, context });
client.screen({ userId: "rudder-1", name: "Start", context });
client.group({ userId: "rudder-1", groupId: "g1", context });
client.alias({ userId: "rudder-1", previousId: "rudder-0", context });
for (let n = 0; n < 4; n += 1) client.track({ anonymousId: `anon-${n}`, event: "Product Viewed", context });
client.flush().then(
  () => console.log(`SENT ${JSON.stringify({ sent: 10, failed })}`),
  () => console.log(`SENT ${JSON.stringify({ sent: 10, failed: failed + 1 })}`),
);
