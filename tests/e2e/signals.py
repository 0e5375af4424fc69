"""Consent signals made at random together with what they mean, for test_fail_closed.py.

Nothing of ebbgate's consent code is used: every signal is built from the bit tables and formats of specs/consent.md.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any
from urllib.parse import quote

from tests.unit.consent.build import DAY_MS, Tc, gpp, us, usca, usnat

NOW_MS = time.time_ns() // 1_000_000
GRANT, DENY = "grant", "deny"
BOTH = ("analytics", "advertising")
PURPOSE_IDS = {"analytics": {1, 8}, "advertising": {1, 3, 4, 7}}


@dataclass(frozen=True)
class Piece:
    """One signal: the parts of a request it writes, and what it says to an opt-in and to an opt-out policy."""

    name: str
    source: str
    parts: Mapping[str, Any]  #: carrier → value: json, query, header, cookie
    opt_in: Mapping[str, str] = field(default_factory=dict)
    opt_out: Mapping[str, str] = field(default_factory=dict)
    google_vendor: bool | None = None  #: for a TC string: whether vendor 755 may have anything
    broken: bool = False


def _both(state: str) -> dict[str, str]:
    return dict.fromkeys(BOTH, state)


def tc(r: Random) -> tuple[str, dict[str, str], bool]:
    """(a valid TC string, what it says of the purposes, whether Google may have anything)."""
    purposes = set(range(1, 12)) if r.random() < 0.5 else {p for p in range(1, 12) if r.random() < 0.6}
    vendors, disclosed = r.choice([(755, 804), (804,), (755,)]), r.choice([(755, 804), (755, 804), (804,)])
    forbidden = [(r.choice((1, 8)), r.choice((0, 2)), [(700, 800)])] if r.random() < 0.15 else []
    single = r.random() < 0.1
    text = Tc(
        purposes=purposes, purposes_li=(2, 7, 9, 10) if r.random() < 0.5 else (), vendors=vendors, vendors_li=vendors,
        disclosed=disclosed, restrictions=forbidden, purpose_one_treatment=single, ranged=r.random() < 0.5,
        created_ms=_midnight(NOW_MS - r.randrange(1, 380) * DAY_MS),
    ).encode()  # fmt: skip
    heard = purposes - {1} if single else purposes
    said = {name: GRANT if ids <= heard else DENY for name, ids in PURPOSE_IDS.items()}
    return text, said, 755 in vendors and 755 in disclosed and not forbidden and {1, 8} <= heard


def _midnight(ms: int) -> int:
    return ms - ms % DAY_MS


def stale_tc(r: Random) -> str:
    """A TC string that consents to everything, well formed, and does not count."""
    good = Tc(purposes=range(1, 12), vendors=(755,), disclosed=(755,), created_ms=_midnight(NOW_MS - 5 * DAY_MS))
    wrong = r.choice([
        replace(good, created_ms=_midnight(NOW_MS - 400 * DAY_MS)), replace(good, created_ms=_midnight(NOW_MS + 5 * DAY_MS)),
        replace(good, service_specific=False), replace(good, cmp_id=r.choice((0, 1))), replace(good, policy=r.choice((0, 1, 2, 3))),
        replace(good, disclosed=None), replace(good, version=r.choice((0, 1, 3, 4, 63))),
    ])  # fmt: skip
    return wrong.encode()


def spoilt(r: Random, text: str) -> str:
    """A string that can no longer be read as a whole."""
    at = r.randrange(1, len(text))
    return r.choice([
        text[:at] + r.choice("!+/= \u0661\uff11%*") + text[at:], text[: min(20, len(text) // 3)], text + "..", text + "=", text + "~",
        quote(text + ".", safe=""), "B" + text[1:], text + text, " " + text, text + ".IAAA.IAAA", text + ".h", "null", "[object Object]",
        text[1:], "${GDPR_CONSENT_755}", "undefined",
    ])  # fmt: skip


NOT_TEXT: tuple[Any, ...] = (7, 1.5, True, False, [], {}, ["x"], {"value": "x"})


def pieces(r: Random) -> list[Piece]:
    """One of every signal, each good, refusing, stale or broken as it comes."""
    return [make(r) for make in (_purposes, _categories, _tcf, _gpp, _us_privacy, _google, _gpc, _cookie, _npa)]


def _purposes(r: Random) -> Piece:
    if r.random() < 0.2:
        wrong = r.choice(
            [{"analytics": "yes"}, {"advertising": True}, {"analytics": "GRANTED"}, [], "granted", {"advertising": None}, 1]
        )
        return _event("purposes", wrong, _both(DENY), broken=True)
    words = {n: r.choice(["granted", "granted", "denied", "refused", "unknown"]) for n in BOTH if r.random() < 0.9}
    said = {n: GRANT if w == "granted" else DENY for n, w in words.items() if w != "unknown"}
    return _event("purposes", words, said)


def _categories(r: Random) -> Piece:
    if r.random() < 0.2:
        wrong = r.choice([{"marketing": 1}, {"analytics": "true"}, ["analytics"], "all", {"marketing": None}, {"": True}, 3])
        return _event("categories", wrong, _both(DENY), broken=True)
    names = {"analytics": ["analytics", "Statistics", "PERFORMANCE"], "advertising": ["marketing", "Marketing"]}
    given = {r.choice(spelt): r.random() < 0.7 for spelt in names.values() for _ in range(r.randrange(3))}
    said: dict[str, str] = {}
    for name, spelt in names.items():
        answers = [v for k, v in given.items() if k in spelt]
        if answers:
            said[name] = GRANT if all(answers) else DENY
    return _event("categories", given, said)


def _event(key: str, value: Any, said: Mapping[str, str], *, broken: bool = False) -> Piece:
    return Piece(key, "event", {"json": {key: value}}, said, said, broken=broken)


def _tcf(r: Random) -> Piece:
    if r.random() < 0.3:
        text: Any = stale_tc(r) if r.random() < 0.5 else spoilt(r, tc(r)[0])
        parts = {"json": {"tcf": r.choice(NOT_TEXT) if r.random() < 0.2 else text}, "query": {"gdpr_consent": text}}
        return Piece("tcf", "tcf", parts, _both(DENY), _both(DENY), google_vendor=False, broken=True)
    text, said, vendor = tc(r)
    parts = {"json": {"tcf": text, "gdpr_applies": True}, "query": {"gdpr_consent": text, "gdpr": "1"}}
    return Piece("tcf", "tcf", parts, said, said, google_vendor=vendor)


#: Answers of a US section → what it says of sale and sharing.
US_ANSWERS: tuple[tuple[dict[str, Any], str], ...] = (
    ({}, "permits"), ({}, "permits"), ({"opt_out": 1}, "opts out"), ({"gpc": True}, "opts out"), ({"child": 1}, "opts out"),
    ({"provider": 1}, "opts out"), ({"notice": 2}, "contradicts"), ({"notice": 0}, "contradicts"), ({"opt_out": 0}, "contradicts"),
    ({"notice": 0, "opt_out": 0}, "no sale"),
)  # fmt: skip


def _gpp(r: Random) -> Piece:
    answer, meaning = r.choice(US_ANSWERS)
    national = r.random() < 0.5 or "child" in answer or "provider" in answer
    own = 7 if national else 8
    sections = [(own, usnat(**answer) if national else usca(**answer))]
    of_tc: dict[str, str] = {}
    vendor = None
    if r.random() < 0.4:
        text, of_tc, vendor = tc(r)
        sections.insert(0, (2, text))
    held = {section for section, _ in sections}
    in_force = r.choice([[0], [2], [own], [15 - own], [2, 15 - own], [99]]) if r.random() < 0.3 else None
    whole = gpp(sections)
    json_parts: dict[str, Any] = {"gpp": whole}
    query: dict[str, Any] = {"gpp": whole}
    if in_force is not None:
        json_parts, query = {**json_parts, "gpp_sid": in_force}, {**query, "gpp_sid": ",".join(map(str, in_force))}
    if r.random() < 0.2:
        wrong: Any = r.choice(
            [spoilt(r, whole), whole + "~1YNN", whole.rpartition("~")[0], gpp([(8, us(1, [3] * 20))]), gpp([(5, "BAAA")])]
        )
        json_parts, query, in_force = {"gpp": r.choice(NOT_TEXT) if r.random() < 0.2 else wrong}, {"gpp": wrong}, [99]
    parts = {"json": json_parts, "query": query}
    if in_force is not None and not {s for s in in_force if s} <= held:
        return Piece(
            "gpp", "gpp", parts, _both(DENY), {"advertising": DENY}, google_vendor=False if 2 in held else None, broken=True
        )
    opt_in = dict(of_tc) if in_force is None or 2 in in_force else {}
    opt_out: dict[str, str] = {}
    binds = in_force is None or own in in_force
    if meaning == "opts out" or (binds and meaning == "contradicts"):  # an opt-out counts in whichever section it stands
        opt_in["advertising"] = opt_out["advertising"] = DENY
    elif binds:  # where no sale takes place, nothing that would be one is allowed
        opt_out["advertising"] = GRANT if meaning == "permits" else DENY
    return Piece("gpp", "gpp", parts, opt_in, opt_out, google_vendor=vendor if opt_in.keys() & {"analytics"} else None)


def _us_privacy(r: Random) -> Piece:
    text = r.choice(
        ["1YNN", "1YNY", "1YYN", "1YYY", "1---", "1NNN", "1NYN", "1Y-N", "2YNN", "1ynn", "1YN", "1YNN%20", "%31YNN", "1YNNN"]
    )
    refuses = text not in ("1YNN", "1YNY", "1---")
    parts = {"json": {"us_privacy": text}, "query": {"us_privacy": text}, "cookie": {"usprivacy": text}}
    opt_out = {"advertising": DENY} if refuses else {"advertising": GRANT} if text != "1---" else {}
    return Piece(
        "us_privacy", "us_privacy", parts, {"advertising": DENY} if refuses else {}, opt_out, broken=refuses and text[1:3] != "YY"
    )


def _google(r: Random) -> Piece:
    letters = {"n": GRANT, "r": GRANT, "v": GRANT, "m": DENY, "q": DENY, "u": DENY, "l": "", "t": GRANT, "p": DENY}
    if r.random() < 0.25:
        text = r.choice(["", "1", "13l3l3l3", "23n3n3n3n5", "13n3n3n305", "10n3n3n3n5", "13n3n 3n3n5", "G111", "13n3n3nén5"])
        parts = {"json": {"gcd": text or "x"}, "query": {"gcd": text or "x"}}
        return Piece("gcd", "google", parts, _both(DENY), _both(DENY), broken=True)
    if r.random() < 0.3:
        ads, analytics = r.choice("01-"), r.choice("01-")
        said = {"0": {"analytics": DENY}, "1": {"analytics": GRANT}, "-": {}}[analytics] | (
            {"advertising": DENY} if ads == "0" else {}
        )
        text = f"G1{ads}{analytics}"
        return Piece("gcs", "google", {"json": {"gcs": text}, "query": {"gcs": text}}, said, said)
    picked = [r.choice("nrvt") if r.random() < 0.7 else r.choice(list(letters)) for _ in range(4)]
    states = [letters[one] for one in picked]
    text = "1" + "".join(r.choice("123") + one for one in picked) + r.choice(["5", "5l1", "1"])
    said = {}
    for name, of in (("analytics", [states[1]]), ("advertising", [states[0], *states[2:]])):
        if DENY in of:
            said[name] = DENY
        elif all(of):
            said[name] = GRANT
    return Piece("gcd", "google", {"json": {"gcd": text}, "query": {"gcd": text}, "protocol": dict(zip(_SIGNALS, states, strict=True))},
                 said, said)  # fmt: skip


_SIGNALS = ("ad_storage", "analytics_storage", "ad_user_data", "ad_personalization")


def _npa(r: Random) -> Piece:
    value = r.choice(["0", "1", "yes", "2"])
    said = {} if value == "0" else {"advertising": DENY}
    parts = {"json": {"npa": r.choice([value, True]) if value == "1" else value}, "query": {"npa": value}}
    return Piece("npa", "google", parts, said, said)


def _gpc(r: Random) -> Piece:
    header, said = r.choice([("1", True), (" 1 ", True), ("0, 1", True), ("0", False), ("true", False), ("", False)])
    body: Any = r.choice([True, 1, "1", "yes", [], 2]) if said else r.choice([False, 0, "0", None])
    refusal = {"advertising": DENY} if said else {}
    parts = {"header": {"Sec-GPC": header}, "json": {"gpc": body}}
    return Piece("gpc", "gpc", parts, refusal, refusal)


def _cookie(r: Random) -> Piece:
    analytics, marketing, chose = r.random() < 0.7, r.random() < 0.7, r.random() < 0.7
    kind = r.randrange(6)
    if kind == 0:
        text, said, vendor = tc(r)
        if r.random() < 0.3:
            bad = r.choice([spoilt(r, text), stale_tc(r)])
            return Piece("tc cookie", "cookie", {"cookie": {"euconsent-v2": quote(bad, safe="")}}, _both(DENY), {}, google_vendor=False,
                         broken=True)  # fmt: skip
        return Piece("tc cookie", "cookie", {"cookie": {"euconsent-v2": text}}, said, {}, google_vendor=vendor)
    if kind == 1:
        value = (
            f"isGpcEnabled=0&interactionCount={int(chose)}&groups=C0001%3A1%2CC0002%3A{int(analytics)}%2CC0004%3A{int(marketing)}"
        )
        cookies = {"OptanonConsent": value}
    elif kind == 2:
        method = "explicit" if chose else "implied"
        answers = f"statistics:{json.dumps(analytics)},marketing:{json.dumps(marketing)}"
        value = f"{{stamp:'x',necessary:true,preferences:true,{answers},method:'{method}'}}"
        cookies = {"CookieConsent": quote(value, safe="{}:")}
    elif kind == 3:
        words = {True: "allow", False: "deny"}
        cookies = {"cmplz_functional": "allow", "cmplz_statistics": words[analytics], "cmplz_marketing": words[marketing]}
        cookies |= {"cmplz_banner-status": "dismissed"} if chose else {}
        said_if_none = {n: DENY for n, yes in (("analytics", analytics), ("advertising", marketing)) if not yes}
        if not chose:  # whether the visitor chose cannot be told: a no counts, a yes does not
            return Piece("cookie", "cookie", {"cookie": cookies}, said_if_none, said_if_none)
    elif kind == 4:
        name, value = r.choice([
            ("OptanonConsent", "groups=C0002%3A2"), ("OptanonConsent", "not-a-real-value"), ("CookieConsent", "%7Bbroken"),
            ("CookieConsent", "{necessary:true,statistics:'yes'}"), ("cmplz_marketing", "maybe"), ("cc_cookie", "not%20json"),
            ("CookieInformationConsent", "%7B%22consents_approved%22%3A1%7D"), ("klaro", "%7B%22a%22%3A1%7D"), ("CookieConsent", "%ff"),
        ])  # fmt: skip
        return Piece("broken cookie", "cookie", {"cookie": {name: value}}, _both(DENY), _both(DENY), broken=True)
    else:
        return Piece("no consent cookie", "cookie", {"cookie": {"session": "granted", "_ga": "GA1.1.1.2"}})
    both = (("analytics", analytics), ("advertising", marketing))
    if chose:
        said = {n: GRANT if yes else DENY for n, yes in both}
        return Piece("cookie", "cookie", {"cookie": cookies}, said, said)
    return Piece("default cookie", "cookie", {"cookie": cookies}, {}, {n: DENY for n, yes in both if not yes})
