from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ebbgate.cli.destination import app

RUN = CliRunner()
GA4 = {"measurement_id": "G-1", "api_secret": "s3cret"}


def lines(*found: object) -> str:
    return "".join(json.dumps(f) + "\n" for f in found)


def answers(output: str) -> list[Any]:
    return [json.loads(line) for line in output.splitlines()]


def test_render_answers_line_for_line_in_order() -> None:
    """Requests, a reason to skip and an error each stand in the line of their input; an unusable line ends with exit code 2."""
    good = {"event": {"event": "page_view", "visitor": {"client_id": "1.2"}}, "settings": GA4}
    skipped = {"event": {"event": "page_view"}, "settings": GA4}
    result = RUN.invoke(app, ["render", "ga4"], input=lines(good, skipped) + "not json\n" + lines(good))
    found = answers(result.stdout)
    assert [list(a) for a in found] == [["requests"], ["skipped"], ["error"], ["requests"]]
    assert found[0]["requests"][0]["method"] == "POST"
    assert result.exit_code == 2


def test_secrets_are_stars_unless_asked_for() -> None:
    """`--show-secrets` prints them, nothing else does."""
    line = lines({"event": {"event": "page_view", "visitor": {"client_id": "1.2"}}, "settings": GA4})
    assert "s3cret" not in RUN.invoke(app, ["render", "ga4"], input=line).stdout
    assert "s3cret" in RUN.invoke(app, ["render", "ga4", "--show-secrets"], input=line).stdout


def test_render_reads_a_file_and_a_batch(tmp_path: Path) -> None:
    """A file argument instead of standard input; a batch of one client becomes one request."""
    events = [{"event": "scroll", "id": str(i), "time": 1_795_300_281_000 + i, "visitor": {"client_id": "1.2"}} for i in range(3)]
    path = tmp_path / "in.jsonl"
    path.write_text(lines({"event": {"events": events}, "settings": GA4}))
    (answer,) = answers(RUN.invoke(app, ["render", "ga4", str(path)]).stdout)
    (request,) = answer["requests"]
    assert [e["timestamp_micros"] for e in request["body"]["events"]] == [(1_795_300_281_000 + i) * 1000 for i in range(3)]


@pytest.mark.parametrize(
    "line",
    [
        {"event": {"event": "purchase"}, "settings": {"api_secret": "s3cret-value"}},
        {"event": {"event": "purchase"}, "settings": {**GA4, "colour": "s3cret-value"}},
        {"event": {"event": "purchase", "order": {"value": "s3cret-value"}}, "settings": GA4},
        {"event": "s3cret-value", "settings": GA4},
        {"settings": GA4},
        {"event": {"type": "track", "event": "x", "timestamp": "s3cret-value"}, "settings": GA4},
        ["s3cret-value"],
    ],
)
def test_errors_name_keys_and_quote_no_value(line: Any) -> None:
    """Wrong settings and wrong events are told by path and code."""
    result = RUN.invoke(app, ["render", "ga4"], input=lines(line))
    assert "error" in answers(result.stdout)[0]
    assert "s3cret-value" not in result.stdout
    assert result.exit_code == 2


def test_an_unknown_destination_could_not_run() -> None:
    """Exit 2 and the known names."""
    result = RUN.invoke(app, ["render", "nope"], input="")
    assert result.exit_code == 2
    assert "ga4" in result.output


def test_hash_answers_in_the_contract_s_shape() -> None:
    """Normalised form and digest, or why it is rejected; names of the vector files and ours both work."""
    given = [
        {"platform": "meta_capi", "field": "em", "value": " A@B.Example "},
        {"platform": "tiktok", "field": "user.phone", "value": "030 901820", "country": "DE"},
        {"platform": "google_datamanager", "field": "postal_code", "value": " 94107 "},
        {"platform": "meta", "field": "em", "value": ""},
        {"platform": "meta", "field": "em", "value": "abc"},
        {"platform": "meta", "field": "shoe_size", "value": "42"},
        {"platform": "meta", "field": "em", "value": 42},
    ]
    result = RUN.invoke(app, ["hash"], input=lines(*given))
    found = answers(result.stdout)
    assert found[0]["normalized"] == "a@b.example"
    assert len(found[0]["sha256"]) == 64
    assert found[1]["normalized"] == "+4930901820"
    assert found[2] == {"normalized": "94107", "sha256": None}
    assert [a["rejected"] for a in found[3:]] == ["empty", "not_valid", "field_not_taken", "not_text"]
    assert result.exit_code == 0


def test_list_names_every_destination_and_marks_secrets() -> None:
    """Text for people, JSON for programs; another format is an error."""
    from ebbgate.destinations.registry import DESTINATIONS

    text = RUN.invoke(app, ["list"]).stdout
    assert all(name in text for name in DESTINATIONS)
    assert "api_secret*" in text
    found = json.loads(RUN.invoke(app, ["list", "--format", "json"]).stdout)
    assert {row["name"] for row in found} == set(DESTINATIONS)
    assert RUN.invoke(app, ["list", "--format", "xml"]).exit_code == 2


def test_an_md5_address_passes_at_meta_only_and_only_in_render() -> None:
    """Meta takes it as hashed; elsewhere it is no address, and what the flow hashes for Meta never is one."""
    from ebbgate.destinations.registry import load

    md5 = "D41D8CD98F00B204E9800998ECF8427E"
    event = {"event": "page_view", "page": {"url": "https://shop.example/"}, "user": {"id": "u", "email": md5}}
    meta = lines({"event": event, "settings": {"pixel_id": "1", "access_token": "x"}})
    (found,) = answers(RUN.invoke(app, ["render", "meta"], input=meta).stdout)
    assert found["requests"][0]["body"]["data"][0]["user_data"]["em"] == md5.lower()
    tiktok = lines({"event": event, "settings": {"pixel_code": "1", "access_token": "x"}})
    (found,) = answers(RUN.invoke(app, ["render", "tiktok"], input=tiktok).stdout)
    assert "email" not in found["requests"][0]["body"]["data"][0]["user"]
    assert load("meta").hashes["user.email"](md5, None) is None


@pytest.mark.parametrize("country", ["DE", "de", "Germany", "Deutschland", "DEU"])
def test_a_national_phone_is_read_by_the_persons_country_as_code_or_name(country: str) -> None:
    """`030 901820` of somebody in Germany is one number, however the country is written."""
    from hashlib import sha256

    event = {"event": "page_view", "page": {"url": "https://s.example/"}, "user": {"phone": "030 901820", "country": country}}
    line = lines({"event": event, "settings": {"pixel_id": "1", "access_token": "x"}})
    (found,) = answers(RUN.invoke(app, ["render", "meta"], input=line).stdout)
    assert found["requests"][0]["body"]["data"][0]["user_data"]["ph"] == sha256(b"4930901820").hexdigest()
