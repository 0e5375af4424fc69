from __future__ import annotations

import json
from typing import Any

import pytest

from ebbgate.cli.consent import Kind, decode_line, decoder_of
from ebbgate.consent import tcf
from ebbgate.consent.resolve import resolve
from ebbgate.model import ConsentRules, ConsentState, Model, Place, PurposeRule, Signals, VendorRule
from tests.vectors import load

KINDS = [kind for kind in Kind if kind is not Kind.AC]
EVERY_PURPOSE = ConsentRules(
    model=Model.OPT_IN,
    read_from=("tcf", "gpp", "cmp_cookie"),
    if_missing="refused",
    if_sources_disagree="most_protective",
    purposes=tuple(PurposeRule(f"p{n}", tcf=(n,)) for n in range(1, 12)),
    vendors=tuple(VendorRule(f"v{v}", v, None, (p,)) for v in (1, 2, 755) for p in (1, 2, 7, 8)),
)


def decoded(kind: Kind, value: Any) -> dict[str, Any]:
    """What `consent decode` prints for one input value."""
    return decode_line(decoder_of(kind), json.dumps(value).encode())


@pytest.mark.parametrize("kind", KINDS)
def test_every_vector_decodes_as_expected(kind: Kind) -> None:
    """`consent decode` prints exactly what the vector expects: 0 mismatches, 0 invalid accepted."""
    wrong = []
    for entry in load(f"consent/{kind.value}"):
        shown = decoded(kind, entry["input"])
        if kind is Kind.GPC and "error" not in shown:
            # The same input stands there with and without "dnt".
            shown = {key: shown[key] for key in entry["expected"]}
        if shown != entry["expected"]:
            wrong.append(entry["name"])
    assert wrong == []


@pytest.mark.parametrize("kind", [Kind.TCF, Kind.GPP])
def test_invalid_vectors_permit_nothing(kind: Kind) -> None:
    """A string that must be refused as a whole grants no purpose and no vendor."""
    for entry in load(f"consent/{kind.value}"):
        if entry["expected"].get("error"):
            signals = Signals(tcf=entry["input"]) if kind is Kind.TCF else Signals(gpp=entry["input"])
            consent = resolve(signals, Place("DE"), EVERY_PURPOSE, 1_795_262_400_000)
            assert {one.state for one in consent.purposes.values()} == {ConsentState.DENIED}, entry["name"]
            assert ConsentState.GRANTED not in consent.vendors.values(), entry["name"]


def test_no_prefix_of_a_reject_string_permits_anything() -> None:
    """Every strict prefix of every "reject all" string leads to 0 permissions, for purposes and for vendors."""
    rejects = [e for e in load("consent/tcf") if e["name"].startswith("reject_all")]
    assert len(rejects) >= 10
    for entry in rejects:
        text = entry["input"]
        now_ms = tcf.decode(text).last_updated_ms
        for end in range(len(text)):
            consent = resolve(Signals(tcf=text[:end]), Place("DE"), EVERY_PURPOSE, now_ms)
            assert ConsentState.GRANTED not in {one.state for one in consent.purposes.values()}
            assert ConsentState.GRANTED not in consent.vendors.values()


def test_prefixes_of_valid_strings_never_say_more() -> None:
    """A shortened string is refused, or says the same and only lost zero padding or whole segments."""
    for entry in load("consent/tcf"):
        if entry["expected"].get("error"):
            continue
        whole = decoded(Kind.TCF, entry["input"])
        core = entry["input"].partition(".")[0]
        for end in range(max(1, len(core) - 12), len(core)):
            shown = decoded(Kind.TCF, core[:end])
            if shown != {"error": True}:
                same = set(whole) - {"segments", "disclosed_vendors", "allowed_vendors", "publisher_tc"}
                assert {k: shown[k] for k in same} == {k: whole[k] for k in same}, entry["name"]


def test_accept_all_vectors_grant_purposes() -> None:
    """The fail-closed rules still let a real "accept all" string grant what it grants."""
    granted = 0
    for entry in load("consent/tcf"):
        if entry["name"].startswith("accept_all"):
            found = tcf.decode(entry["input"])
            consent = resolve(Signals(tcf=entry["input"]), Place("DE"), EVERY_PURPOSE, found.last_updated_ms)
            granted += all(one.state is ConsentState.GRANTED for one in consent.purposes.values())
    assert granted >= 1
