"""`python -m tests.e2e.clients.rudder_python URL KEY`: one call of each kind through rudder-sdk-python, compressed as it does."""

from __future__ import annotations

import importlib
import sys

from tests.e2e.clients.watched import told, watch

watch()
Client = importlib.import_module("rudderstack.analytics.client").Client
errors: list[object] = []
client = Client(sys.argv[2], host=sys.argv[1], on_error=lambda error, _: errors.append(error), max_retries=0)
context = {"consentManagement": {"allowedConsentIds": ["analytics", "marketing"], "deniedConsentIds": []}}
client.identify("rpy-1", {"email": "rpy@example.com"}, context=context)
client.track(
    "rpy-1", "Order Completed", {"order_id": "Q-1", "email": "rpy@example.com", "revenue": 12.5, "currency": "EUR"}, context=context
)
client.page("rpy-1", "Docs", "Home", {"url": "https://shop.example/"}, context=context)
client.screen("rpy-1", "App", "Start", context=context)
client.group("rpy-1", "g1", {"name": "Team"}, context=context)
client.alias("rpy-0", "rpy-1", context=context)
for n in range(4):
    client.track(anonymous_id=f"anon-{n}", event="Product Viewed", context=context)
client.shutdown()
told(10, len(errors))
