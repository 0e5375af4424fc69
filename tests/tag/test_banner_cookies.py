"""The tag and the gateway agree about which cookies of consent platforms tell of a choice. Needs Node, no browser."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import ebbgate
from tests.vectors import load

TAG = Path(ebbgate.__file__).parent / "tag" / "t.min.js"
#: Their choice reaches the tag by their own script, or not at all; what they keep in cookies tells the tag nothing.
_BY_SCRIPT = frozenset({"shopify", "osano"})
#: Cookies that are written only once the visitor has chosen, though nothing in them says so.
_AFTER_A_CHOICE = frozenset({"tcf", "wp_consent_api"})


def opened(headers: list[str]) -> list[bool]:
    """For each `Cookie` header: whether the tag takes it for an answer."""
    node = shutil.which("node")
    if node is None:
        if os.environ.get("EBBGATE_TEST_REQUIRE") == "1":
            pytest.fail("needs node")
        pytest.skip("needs node")
    script = str(Path(__file__).with_name("banner_cookies.mjs"))
    lines = "\n".join(json.dumps(header) for header in headers)
    done = subprocess.run([node, script, str(TAG)], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_tag_waits_where_the_gateway_sees_no_choice() -> None:
    """Every readable vector: a choice opens the gate, a platform's defaults and cookies that leave it open do not."""
    vectors = [v for v in load("consent/cmp_cookies") if v["expected"]["decoded"] and v["expected"]["cmp"] not in _BY_SCRIPT]
    found = opened([v["input"]["cookie"] for v in vectors])
    chosen = [v["expected"]["choice_made"] is True or v["expected"]["cmp"] in _AFTER_A_CHOICE for v in vectors]
    assert [v["id"] for v, is_open, want in zip(vectors, found, chosen, strict=True) if is_open != want] == []
    assert {True, False} == set(chosen)


@pytest.mark.parametrize(
    ("cookies", "answer"),
    [
        ("", False), ("theme=klaro; last=cc_cookie", False), ("xklaro=%7B%7D", False), ("_ga=GA1.1.1.2; session=action", False),
        ("OptanonConsent=interactionCount=0&groups=C0001%3A1; OptanonAlertBoxClosed=2026-11-01T00:00:00Z", True),
        ("OptanonConsent=interactionCount=2&groups=C0001%3A1&AwaitingReconsent=true; OptanonAlertBoxClosed=2026-11-01T00:00:00Z", False),
        ("cmplz_banner-status=dismissed; cmplz_marketing=deny", True), ("cmplz_marketing=deny; cmplz_banner-status=dismissed", True),
        ("cmplz_marketing=deny; cmplz_banner-status=show", False), ("CONSENTMGR=c1:1%7Cconsent:true", True),
        ("CONSENTMGR=c1:1%7Cts:1", False),
        ("notice_gdpr_prefs=0,1:", True), ("__hs_cookie_cat_pref=1:true", True), ("eupubconsent-v2=CP", True),
    ],
)  # fmt: skip
def test_names_are_whole_names_and_open_choices_stay_open(cookies: str, answer: bool) -> None:
    """Nothing in another cookie's value counts; a platform that asks again, or has written only defaults, has not answered."""
    assert opened([cookies]) == [answer]
