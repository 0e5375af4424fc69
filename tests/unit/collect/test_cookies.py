from __future__ import annotations

import pytest

from ebbgate.collect.cookies import click_fields, cookie_fields, wanted

UUID = "6f1a2b3c-4d5e-6f70-8192-a3b4c5d6e7f8"


@pytest.mark.parametrize(
    ("name", "value", "fields"),
    [
        (
            "_ga",
            "GA1.1.1234567890.1731400000",
            {"cookie.ga": "GA1.1.1234567890.1731400000", "visitor.client_id": "1234567890.1731400000"},
        ),
        ("_ga", "GA1.2-2.12.34", {"cookie.ga": "GA1.2-2.12.34", "visitor.client_id": "12.34"}),
        ("_ga_ABC", "GS1.1.1763632000.3.1", {"cookie.ga_session": "1763632000", "visitor.session_id": "1763632000"}),
        ("_ga_ABC", "GS2.1.s1763632000$o3$g1$t1", {"cookie.ga_session": "1763632000", "visitor.session_id": "1763632000"}),
        ("_fbp", "fb.1.1731400000000.109", {"cookie.fbp": "fb.1.1731400000000.109"}),
        ("_fbc", "fb.1.1763632000000.IwAR0Case", {"cookie.fbc": "fb.1.1763632000000.IwAR0Case"}),
        ("_gcl_aw", "GCL.1763632000.Cj0.K-x", {"cookie.gcl_aw": "Cj0.K-x"}),
        ("FPGCLGB", "GCL.1763632000.gb", {"cookie.gcl_gb": "gb"}),
        ("_uetmsclkid", "_uet0a1b", {"click.msclkid": "0a1b"}),
        ("_rdt_uuid", f"1731400000000.{UUID}", {"cookie.rdt_uuid": UUID}),
        ("_scclid", "Sc-1", {"click.sccid": "Sc-1"}),
        ("li_fat_id", UUID, {"click.li_fat_id": UUID}),
        ("_ttp", "2Zt4", {"cookie.ttp": "2Zt4"}),
    ],
)
def test_each_cookie_becomes_its_field(name: str, value: str, fields: dict[str, str]) -> None:
    """The formats of specs/destinations.md §1.2; click ids keep their case."""
    assert cookie_fields([(name, value)]) == fields
    assert wanted(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("_ga", "GA1.1.x.y"), ("_ga", "1234567890.1731400000"), ("_ga_ABC", "GS3.1.s1"), ("_fbp", "fb.x"), ("_fbc", ""),
        ("_gcl_aw", "GCL.x.y"), ("_uetmsclkid", "_uet"), ("_rdt_uuid", "x.y"), ("_ttp", "a b"), ("_ttp", "x" * 2000),
        ("sessionid", "s3cret"),
        ("_ttp", "é"),
    ],
)  # fmt: skip
def test_what_has_another_form_is_left_out(name: str, value: str) -> None:
    """Cookies are written by strangers: a wrong form, a long value or another name gives nothing."""
    assert cookie_fields([(name, value)]) == {}


def test_the_site_s_own_cookies_are_not_wanted() -> None:
    """A session cookie never gets past the edge."""
    assert not wanted("sessionid")
    assert not wanted("__Host-session")


def test_the_first_of_a_name_counts_and_the_oldest_reddit_id() -> None:
    """A second cookie of a name cannot replace the first; Reddit's oldest id is the one that its pixel keeps."""
    other = UUID.replace("6", "7")
    found = cookie_fields([("_ttp", "a"), ("_ttp", "b"), ("_rdt_uuid", f"2.{other}"), ("_rdt_uuid", f"1.{UUID}")])
    assert found == {"cookie.ttp": "a", "cookie.rdt_uuid": UUID}


def test_click_ids_of_an_address() -> None:
    """All known parameters, `ScCid` in the ways it is written, the first of a repeated one, nothing from a broken address."""
    url = "https://shop.example/?gclid=Cj&gbraid=g&fbclid=IwAR&ScCid=S1&sccid=S2&ttclid=E.C&utm_source=x&FBCLID=no"
    assert click_fields(url) == {
        "click.gclid": "Cj",
        "click.gbraid": "g",
        "click.fbclid": "IwAR",
        "click.sccid": "S1",
        "click.ttclid": "E.C",
    }
    assert click_fields("https://shop.example/") == {}
    assert click_fields("http://[::1?gclid=x") == {}
    assert click_fields("https://a.example/?" + "&".join(f"gclid={i}" for i in range(500))) == {}
