from __future__ import annotations

import importlib.util
import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import ValidationError

from ebbgate.cli.destination import render_line
from ebbgate.destinations import registry, wire
from ebbgate.destinations.kit import Act, Destination, DestinationSettings, HttpRequest, HttpResponse, is_loopback, public_url
from ebbgate.destinations.reference import markdown
from ebbgate.errors import DestinationError
from ebbgate.model import Outcome
from tests.unit.destinations.samples import cleaned

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    "url", ["https://a.example", "https://a.example/b/", "http://127.0.0.1:9001", "http://localhost:1", "http://[::1]:2"]
)
def test_a_stand_in_is_https_or_this_machine(url: str) -> None:
    """Tests and mocks may stand in on loopback, everything else needs https."""
    assert DestinationSettings(endpoint=url).endpoint == url.rstrip("/")


@pytest.mark.parametrize(
    "url", ["http://a.example", "ftp://a.example", "https://u:p@a.example", "127.0.0.1:80", "https:///x", "file:///etc"]
)
def test_any_other_stand_in_is_refused(url: str) -> None:
    """Clear text to another machine and credentials in an address are errors."""
    with pytest.raises(ValidationError):
        DestinationSettings(endpoint=url)


def test_unknown_settings_are_errors() -> None:
    """A misspelt key never passes silently, in any destination."""
    for destination in registry.DESTINATIONS.values():
        with pytest.raises(ValidationError):
            destination.settings.model_validate({"no_such_key": 1})


def test_loopback() -> None:
    """Names of other machines and public addresses are not loopback."""
    assert is_loopback("127.8.8.8")
    assert not is_loopback("128.0.0.1")
    assert not is_loopback("localhost.example")


def test_a_request_shows_nothing_of_itself() -> None:
    """`repr` has no address, header or body; `public_url` hides declared parameters only."""
    request = HttpRequest("POST", "https://a.example/x?k=secret&id=1", (("a", "secret"),), b"secret", secret_params=("k",))
    assert "secret" not in repr(request)
    assert public_url(request) == "https://a.example/x?k=***&id=1"


@pytest.mark.parametrize(
    ("status", "act"),
    [
        (200, Act.DONE), (204, Act.DONE), (301, Act.PARK), (100, Act.PARK), (400, Act.BISECT), (401, Act.PARK), (403, Act.PARK),
        (404, Act.PARK), (408, Act.UNKNOWN), (410, Act.PARK), (413, Act.HALVE), (422, Act.BISECT), (425, Act.UNKNOWN),
        (429, Act.RETRY), (500, Act.UNKNOWN), (503, Act.UNKNOWN), (599, Act.UNKNOWN),
    ],
)  # fmt: skip
def test_statuses(status: int, act: Act) -> None:
    """What a status alone means: specs/reliability.md §2.3."""
    assert wire.by_status(HttpResponse(status, {}, b""), 2).act is act


def test_a_503_with_retry_after_is_a_push_back() -> None:
    """The platform says itself that it did not process."""
    assert wire.by_status(HttpResponse(503, {"retry-after": "5"}, b""), 2).act is Act.RETRY


def test_one_refused_event_is_rejected_not_halved() -> None:
    """A batch of one has no halves."""
    for status in (400, 413):
        answer = wire.by_status(HttpResponse(status, {}, b""), 1)
        assert (answer.act, answer.outcome) == (Act.DONE, Outcome.REJECTED)


def test_member_never_raises() -> None:
    """Foreign JSON of any shape is walked safely."""
    for found in (None, 1, "x", [], {}, {"a": None}, {"a": [1]}, [[1]]):
        assert wire.member(found, "a", 0, "b") is None
    assert wire.member({"a": [{"b": 1}]}, "a", 0, "b") == 1


def test_unknown_destinations_are_named_with_the_known_ones() -> None:
    """`load` says what there is; aliases of the vector files work."""
    with pytest.raises(DestinationError) as caught:
        registry.load("nope")
    assert "ga4" in caught.value.hint
    assert registry.load("meta_capi").name == "meta"


def test_the_reference_page_is_what_the_files_say() -> None:
    """docs/reference/destinations.md is generated; `ebbgate destination list --format markdown` writes it."""
    assert (ROOT / "docs" / "reference" / "destinations.md").read_text() == markdown(registry.BUILT_IN)


def test_every_setting_is_explained() -> None:
    """No setting of any destination lacks its sentence in the reference."""
    for destination in registry.BUILT_IN:
        assert [n for n, f in destination.settings.model_fields.items() if not f.description] == [], destination.name


class _Point(EntryPoint):
    """An installed entry point, as importlib.metadata gives it, that loads what the test made."""

    made: Any = None

    def load(self) -> Any:
        return type(self).made


def _guide_module() -> ModuleType:
    """The example of docs/guides/add-a-destination.md, imported as the file that a reader would write."""
    guide = (ROOT / "docs" / "guides" / "add-a-destination.md").read_text()
    code = re.search(r"```python\n(.*?)```", guide, re.DOTALL)
    assert code
    spec = importlib.util.spec_from_loader("tally", loader=None)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules["tally"] = module
    exec(compile(code[1], "tally.py", "exec"), module.__dict__)
    return module


def _registered(made: object, name: str = "tally") -> Any:
    point = type("_Made", (_Point,), {"made": made})(name=name, value="tally:DESTINATION", group=registry.ENTRY_POINT_GROUP)
    return registry.collect([point])


def test_the_example_of_the_guide_works_as_an_installed_destination() -> None:
    """One file and an entry point are enough: the guide's example maps, skips, sends and reads answers."""
    tally = _registered(_guide_module().DESTINATION)["tally"]
    assert isinstance(tally, Destination)
    settings = {"board": "b1", "key": "k3y"}
    event = {"event": "purchase", "id": "e", "order": {"value": 12, "currency": "EUR"}, "user": {"email": "Ana@B.example"}}
    (request,) = render_line(tally, {"event": event, "settings": settings})["requests"]
    assert request["headers"]["authorization"] == "***"
    assert request["body"]["events"][0].keys() == {"id", "what", "at", "amount", "who"}
    assert "ana@" not in repr(request).lower()
    assert render_line(tally, {"event": {"event": "scroll"}, "settings": settings}) == {"skipped": "no_name_for_this_event"}
    assert tally.classify(HttpResponse(200, {}, b'{"taken": 2}'), 2).act is Act.DONE
    assert tally.classify(HttpResponse(200, {}, b'{"taken": 1}'), 2).act is Act.UNKNOWN
    assert "Tally" in markdown([tally])
    assert cleaned(tally, {"event": "purchase", "user": {"email": "a@b.example"}}).hashed == {"user.email"}


def test_a_third_party_cannot_take_a_name_or_bring_something_else() -> None:
    """A name in use, another name than declared, and what is no Destination stop the start."""
    with pytest.raises(DestinationError, match="twice"):
        _registered(registry.load("ga4"), "ga4")
    with pytest.raises(DestinationError, match="another name"):
        _registered(registry.load("ga4"), "tally")
    with pytest.raises(DestinationError, match="no Destination"):
        _registered(object())
