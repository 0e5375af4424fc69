"""`python -m tests.e2e.clients.segment_python URL KEY`: one call of each kind through segment-analytics-python."""

from __future__ import annotations

import importlib
import sys

from tests.e2e.clients.watched import told, watch

watch()
Client = importlib.import_module("segment.analytics.client").Client
errors: list[object] = []
client = Client(
    sys.argv[2], host=sys.argv[1], on_error=lambda error, _: errors.append(error), max_retries=0, gzip="gzip" in sys.argv
)
context = {"consent": {"categoryPreferences": {"analytics": True, "marketing": True}}}
client.identify("py-1", {"email": "py@example.com"}, context=context)
client.track(
    "py-1", "Order Completed", {"order_id": "P-1", "email": "py@example.com", "revenue": 12.5, "currency": "EUR"}, context=context
)
client.page("py-1", "Docs", "Home", {"url": "https://shop.example/"}, context=context)
client.screen("py-1", "App", "Start", context=context)
client.group("py-1", "g1", {"name": "Team"}, context=context)
client.alias("py-0", "py-1", context=context)
for n in range(4):
    client.track(anonymous_id=f"anon-{n}", event="Product Viewed", context=context)
client.shutdown()
told(10, len(errors))
