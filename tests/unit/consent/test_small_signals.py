from __future__ import annotations

import pytest

from ebbgate.consent import additional_consent, google, gpc, us_privacy
from ebbgate.consent.us_privacy import SaleAnswer
from ebbgate.errors import SignalError
from ebbgate.model import ConsentState

G, D, U = ConsentState.GRANTED, ConsentState.DENIED, ConsentState.UNKNOWN


@pytest.mark.parametrize(
    ("raw", "consented", "disclosed"),
    [
        ("1~", set(), set()),
        ("1~1.35.41.101", {1, 35, 41, 101}, set()),
        ("2~~dv.1.2.3", set(), {1, 2, 3}),
        ("2~1.2.3~dv.", {1, 2, 3}, set()),
        ("2~1.2.3~dv", {1, 2, 3}, set()),
        ("2~1.10~dv.2.3.4", {1, 10}, {2, 3, 4}),
    ],
)
def test_additional_consent(raw: str, consented: set[int], disclosed: set[int]) -> None:
    """Both versions, with empty lists on either side."""
    found = additional_consent.decode(raw)
    assert (set(found.consented), set(found.disclosed)) == (consented, disclosed)
    assert additional_consent.describe(found)["version"] == int(raw[0])


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "1",
        "1~1.",
        "1~.1",
        "1~a",
        "1~1~dv.2",
        "2~1",
        "2~1~dv.1",
        "2~1~dv1",
        "2~1~xx.2",
        "3~1~dv.",
        "1~1\n",
        "1~١",
        "1~" + "1." * 20_000 + "1",
    ],
)
def test_additional_consent_refuses(bad: str) -> None:
    """Other versions, other characters, an id in both lists, and overlong strings."""
    with pytest.raises(SignalError):
        additional_consent.decode(bad)


@pytest.mark.parametrize(
    ("raw", "answer"),
    [
        ("1---", SaleAnswer.NO_OPINION),
        ("1YNN", SaleAnswer.NOT_OPTED_OUT),
        ("1YNY", SaleAnswer.NOT_OPTED_OUT),
        ("1-N-", SaleAnswer.NOT_OPTED_OUT),
        ("1YYN", SaleAnswer.OPTED_OUT),
        ("1-Y-", SaleAnswer.OPTED_OUT),
        ("1NNN", SaleAnswer.OPTED_OUT),
        ("1Y-N", SaleAnswer.OPTED_OUT),
        ("1--Y", SaleAnswer.OPTED_OUT),
        ("1N--", SaleAnswer.OPTED_OUT),
    ],
)
def test_us_privacy_answers(raw: str, answer: SaleAnswer) -> None:
    """Opt-out, no chance to opt out, and contradictions are all a refusal of sale."""
    assert us_privacy.decode(raw).answer() is answer


@pytest.mark.parametrize("bad", ["", "1yn-", "1YNN ", "2YNN", "1YN", "YNN1", "1YN\n", "1ＹNN"])
def test_us_privacy_refuses(bad: str) -> None:
    """Only the four characters of version 1, upper case."""
    with pytest.raises(SignalError):
        us_privacy.decode(bad)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("sec-gpc", "1")], True),
        ([("Sec-GPC", "\t1 ")], True),
        ([("Sec-GPC", "0"), ("sec-gpc", "1")], True),
        ([("Sec-GPC", "0, 1")], True),
        ([("Sec-GPC", "10")], False),
        ([("Sec-GPC", "1;x")], False),
        ([("X-Sec-GPC", "1")], False),
        ([], False),
    ],
)
def test_gpc_header(headers: list[tuple[str, str]], expected: bool) -> None:
    """Exactly `1` in any line, or as a member of a joined one."""
    assert gpc.gpc(headers) is expected


@pytest.mark.parametrize(
    ("values", "expected"), [(["1"], True), (["0"], False), (["0", "1"], True), (["0", "x"], None), (["null"], None), ([], None)]
)
def test_dnt_header(values: list[str], expected: bool | None) -> None:
    """`1` opts out, `0` consents, all else is unset."""
    assert gpc.dnt([("DNT", value) for value in values]) is expected


def test_gcd_takes_only_what_a_site_said() -> None:
    """What Google's tag assumes (`implicit`) is shown and makes no state."""
    found = google.decode_gcd("13l3l3l3l1l1")
    assert [journey.implicit for journey in found.journeys] == ["granted"] * 4
    assert {found.state(name) for name in google.SIGNALS} == {U}


def test_gcd_order_of_authority() -> None:
    """Update beats default, default beats what the signal is delegated to, that beats the declaration."""
    found = google.decode_gcd("11q1rNTNl5")
    assert [found.state(name) for name in google.SIGNALS] == [D, G, G, D]
    assert found.journeys[3].delegated_to == "ad_storage"
    # Delegated to ad_storage (denied by default), itself declared granted: the delegate is asked first.
    assert google.decode_gcd("11pNR1l1l5").state("analytics_storage") is D
    assert google.decode_gcd("11lxR1l1l5").state("analytics_storage") is G


@pytest.mark.parametrize(
    "bad",
    ["", "1", "21l1l1l1l5", "11l1l1l1", "11l1l1l1l", "10l1l1l1l5", "11k1l1l1l5", "1!l1l1l1l5", "15l1l1l1l5", 
     "11l1l1l1l" + "5" * 200, "11/1l1l1l5", "1101l1l1l5"],
)  # fmt: skip
def test_gcd_refuses(bad: str) -> None:
    """Too short, another version, characters outside the alphabet, and states or delegations that do not exist."""
    with pytest.raises(SignalError):
        google.decode_gcd(bad)


@pytest.mark.parametrize("bad", ["", "G1", "G111x", "G112", "g111", "G211", "G11\n"])
def test_gcs_refuses(bad: str) -> None:
    """Only `G1` and two of `0`, `1`, `-`."""
    with pytest.raises(SignalError):
        google.decode_gcs(bad)


def test_consent_mode_combines() -> None:
    """Any denial wins; where gcd is present only gcd grants; npa refuses personalisation."""
    assert google.consent_mode("G111", None, None).state("ad_storage") is G
    assert google.consent_mode("G111", "13l3l3l3l1l1", None).state("ad_storage") is U
    assert google.consent_mode("G101", "13r3r3r3r5", None).state("ad_storage") is D
    assert google.consent_mode("G1--", "13r3r3r3r5", None).state("ad_storage") is G
    assert google.consent_mode(None, "13r3r3r3r5", "1").state("ad_personalization") is D
    assert google.consent_mode(None, "13r3r3r3r5", "0").state("ad_personalization") is G
    assert google.consent_mode(None, "13r3r3r3r5", "maybe").state("ad_personalization") is D
    assert google.consent_mode(None, "13r3r3r3r5", None).state("security_storage") is U


def test_consent_mode_names_what_it_could_not_read() -> None:
    """Unreadable parameters are problems, not silence."""
    mode = google.consent_mode("G9", "nonsense", None)
    assert [parameter for parameter, _ in mode.problems] == ["gcs", "gcd"]
    assert {state for _, state in mode.states} == {U}
