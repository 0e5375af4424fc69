"""Any bytes in any dialect give events or a clear error: nothing else is raised, and nothing of a stranger's claims is believed."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebbgate.collect.dialect import parse
from ebbgate.edge.routes import ROUTES
from ebbgate.errors import RequestError
from ebbgate.fields import known
from ebbgate.model import Place, RawRequest, Trust
from tests.scale import scaled

PATHS = sorted({id(route.dialect): path for path, route in ROUTES.items()}.values())
NOW = 1_795_300_281_250
QUICK = settings(max_examples=scaled(150), deadline=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = [
    "en",
    "v",
    "ep.transaction_id",
    "epn.value",
    "ep.user_data.email_address",
    "ep.user_data.address.city",
    "up.a",
    "upn.b",
    "pr1",
    "pr200",
    "pr201",
    "em",
    "gcs",
    "gcd",
    "gdpr",
    "gpp_sid",
    "npa",
    "uafvl",
    "sid",
    "cid",
    "_s",
    "event",
    "id",
    "page.url",
    "order.value",
    "order.items",
    "properties.a",
    "network.ip",
    "writeKey",
    "anonymousId",
    "context",
    "properties",
    "context.page.url",
    "traits.a.b.c.d.e.f.g",
    "gpc",
    "us_privacy",
]
TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            "",
            "page_view",
            "purchase",
            "1",
            "-1",
            "1e9",
            "0x1",
            "NaN",
            "G111",
            "G1",
            "13r3r3r3r5l1",
            "tv.1~em.AAAA~pn0.zz",
            "idS~nm~~~pr",
            "{}",
            '{"a":{"b":[1]}}',
            "[]",
            "null",
            "2026-11-21T22:31:21Z",
            "9999999999999999999",
            "\x00",
            "https://a.example/?gclid=1&utm_source=%ff",
        ]
    ),
)
KEYS = st.sampled_from(
    [
        "type",
        "event",
        "name",
        "n",
        "u",
        "url",
        "p",
        "props",
        "revenue",
        "$",
        "events",
        "batch",
        "params",
        "items",
        "consent",
        "context",
        "properties",
        "traits",
        "products",
        "messageId",
        "userId",
        "anonymousId",
        "timestamp",
        "sentAt",
        "timestamp_micros",
        "client_id",
        "user_properties",
        "user_data",
        "address",
        "gpp_sid",
        "gpp_string",
        "mmt_only",
        "event_type",
        "custom_event",
        "id",
        "value",
        "currency_code",
        "categoryPreferences",
        "optOut",
        "explicit",
        "consentManagement",
        "allowedConsentIds",
        "location",
        "country",
        "page",
        "campaign",
        "screen",
        "library",
        "cookies",
        "ad_user_data",
        "non_personalized_ads",
        "device",
        "email_address",
        "item_id",
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(),
    TEXTS,
    st.sampled_from(["track", "page", "GRANTED", "DENIED", "pageview", "custom", "Order Completed", 1_795_300_200, "DE", "true"]),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.one_of(KEYS, st.text(max_size=8)), inner, max_size=8),
    max_leaves=25,
)
FORMS = st.lists(st.tuples(st.one_of(st.sampled_from(NAMES), st.text(max_size=8)), TEXTS), max_size=12).map(
    lambda pairs: urlencode(pairs, errors="surrogatepass")
)


@st.composite
def shaped(draw: st.DrawFn) -> Any:
    """JSON that gets past the envelopes more often than chance."""
    inner = draw(JSON)
    return draw(
        st.sampled_from(
            [
                inner,
                {
                    "events": [
                        inner,
                        {"name": "x", "params": inner},
                        {"event_type": "purchase", "timestamp": NOW // 1000, "user_data": inner},
                    ]
                },
                {"batch": [inner, {"type": "track", "event": "E", "context": inner, "properties": inner}], "context": inner},
                {"event": "E", "properties": inner, "traits": inner, "context": {"consent": inner, "location": inner}},
                {"name": "pageview", "url": "https://shop.example/", "props": inner, "revenue": inner},
                {
                    "client_id": "1.2",
                    "consent": inner,
                    "user_data": inner,
                    "events": [{"name": "purchase", "params": {"items": inner}}],
                },
            ]
        )
    )


def checked(path: str, query: str, body: bytes, headers: tuple[tuple[str, str], ...], trust: Trust) -> None:
    request = RawRequest("POST", f"/e{path}", query, headers, body, "203.0.113.9", NOW, (), "shop", trust)
    dialect = ROUTES[path].dialect
    error: RequestError | None
    try:
        dialect.key(request, dialect.decode(request))
        collected = parse(dialect, request, Place("DE", None, "test"), max_events=50)
    except RequestError as refused:
        error = refused
        collected = []
    else:
        error = None
    if error is not None:
        assert 400 <= error.status < 500
        assert error.code
        return
    assert collected
    for one in collected:
        if one.event is None:
            assert one.error is not None
            assert one.error.code
            continue
        event = one.event
        assert all(known(field) for field in event.fields)
        assert event.trust is trust
        assert abs(event.time_ms - NOW) <= 100 * 86_400_000
        hash(one.signals)  # resolution is cached on it
        json.dumps({k: v for k, v in event.fields.items() if not isinstance(v, tuple)}, allow_nan=False)
        if trust is Trust.BROWSER:
            assert event.fields.get("network.ip") in (None, "203.0.113.9", "203.0.113.0")
            assert event.fields.get("place.country") == "DE"


@pytest.mark.parametrize("path", PATHS)
@QUICK
@given(
    query=st.one_of(
        FORMS,
        FORMS.map(lambda form: f"en=page_view&event=page_view&network.ip=8.8.8.8&_uip=8.8.8.8&place.country=US&{form}"),
        st.text(max_size=60).map(quote),
        st.text(alphabet="%&=;+a1fF", max_size=60),
    ),
    body=st.one_of(
        st.binary(max_size=80),
        shaped().map(lambda v: json.dumps(v).encode()),
        st.lists(FORMS, max_size=4).map(lambda lines: "\r\n".join(lines).encode()),
        st.just(b""),
    ),
    headers=st.lists(
        st.tuples(st.sampled_from(["anonymousid", "x-ip-policy", "user-agent", "referer", "sec-gpc", "x-forwarded-for"]), TEXTS),
        max_size=3,
    ),
    trust=st.sampled_from(Trust),
)
def test_any_bytes_give_events_or_a_clear_error(
    path: str, query: str, body: bytes, headers: list[tuple[str, str]], trust: Trust
) -> None:
    """No input raises anything but a RequestError of its own; what comes out has known fields and the trust it came with."""
    checked(path, query, body, tuple(headers), trust)


@pytest.mark.parametrize("path", [p for p in PATHS if "pixel" not in p and p not in ("/p.gif", "/g/collect")])
@QUICK
@given(value=shaped(), trust=st.sampled_from(Trust))
def test_any_json_gives_events_or_a_clear_error(path: str, value: Any, trust: Trust) -> None:
    """The same for well-formed JSON of every shape that the dialects know parts of."""
    checked(path, "", json.dumps(value).encode(), (), trust)
