"""Canaries in every field and every setting of every destination: none of them is seen where it has no business (issue 5, figures).

Persons: an e-mail address or a telephone number in any text of an event never stands in a request to a destination that takes people as
hashes. Secrets: they leave in headers (or in the body where the platform knows no header), and stand in no address, log, repr or error.
"""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote, quote_plus

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec import structs
from pydantic import SecretStr
from structlog.testing import capture_logs

from ebbgate.app import configure_destinations
from ebbgate.cli.destination import render_line
from ebbgate.deliver.runner import open_lane
from ebbgate.demo.sink import Received, RecordingSink, Reply
from ebbgate.destinations.kit import Skip, public_url
from ebbgate.destinations.registry import DESTINATIONS, load
from ebbgate.errors import ConfigError
from ebbgate.fields import FIELDS, ITEM_KEYS, Kind
from ebbgate.model import Event, Outcome
from ebbgate.policy.clean import clean_everything
from ebbgate.settings import Settings
from tests.contract.test_destination_rules import TAKES_HASHES, event, settings_of
from tests.unit.deliver.fakes import DIGEST
from tests.unit.deliver.rig import new_event, now_ms, open_house
from tests.unit.destinations.samples import GRANTED, cleaned, collected

PERSONS: Final = ("Canary.{}@mail.example", "note of canary.{}@mail.example", "+49 30 77 00 {}", " +493077{}")
_TEXTS: Final = [path for path, known in FIELDS.items() if known.kind is Kind.TEXT and not path.startswith("event.")]
_IN_ITEMS: Final = [key for key, kind in ITEM_KEYS.items() if kind is Kind.TEXT]
MARK: Final = "S3CRETCANARY"


def _planted(name: str) -> Iterator[tuple[str, str, Event]]:
    """(field, what is planted there, event) for every text of an event and of a product, and a property of the site's own."""
    page = {"url": "https://shop.example/p", "referrer": "https://shop.example/"}
    base = collected(event(name, page=page, properties={"color": "red"}))
    (product,) = cast(tuple[Mapping[str, Any]], base.fields["order.items"])
    for number, path in enumerate((*_TEXTS, "event.original_name", "properties.note", "properties.color"), 100):
        for person in PERSONS:
            planted = person.format(number)
            yield path, planted, structs.replace(base, fields={**base.fields, path: planted})
    for number, key in enumerate(_IN_ITEMS, 500):
        for person in PERSONS:
            planted = person.format(number)
            yield key, planted, structs.replace(base, fields={**base.fields, "order.items": ({**product, key: planted},)})
    for path in ("page.url", "page.referrer"):
        for person in PERSONS:
            planted = person.format(900)
            for written in (f"/{quote(planted)}", f"?to={quote_plus(planted)}", f"#{quote(planted)}", f"?a=b&{quote(planted)}=1"):
                yield path, planted, structs.replace(base, fields={**base.fields, path: f"https://shop.example/p{written}"})


def _written(planted: str) -> tuple[bytes, ...]:
    """Every way in which a request could hold it, in lower case."""
    bare = planted.strip()
    core = bare.removeprefix("note of ")
    ways = {core, quote(core), quote(core, safe=""), quote_plus(core), quote(quote_plus(core)), json.dumps(core)[1:-1]}
    return tuple(way.lower().encode() for way in ways)


@pytest.mark.parametrize("name", TAKES_HASHES)
def test_a_person_in_any_field_reaches_no_destination_that_takes_hashes(name: str) -> None:
    """E-mail addresses and telephone numbers, wherever a site puts them: not in the address, not in a header, not in the body."""
    destination = load(name)
    settings = destination.settings.model_validate(settings_of(name))
    seen = 0
    for event_name in ("purchase", "generate_lead", "sign_up", "search"):
        for path, planted, found in _planted(event_name):
            clean = clean_everything(
                found, destination=name, hashes=destination.hashes, demands_hash=destination.demands_hash, google=GRANTED
            )
            row = destination.render(clean, settings)
            if isinstance(row, Skip):
                continue
            request = destination.envelope([row], settings)
            shown = b"\n".join((request.url.encode(), *(v.encode() for _, v in request.headers), request.body)).lower()
            assert not [way for way in _written(planted) if way in shown], (event_name, path)
            seen += 1
    assert seen > len(_TEXTS), "hardly anything was rendered"


@pytest.mark.parametrize("name", TAKES_HASHES)
@pytest.mark.parametrize("planted", ["ana@mail.example", "Ana@mail.example bought", "+49 30 901820"])
def test_an_event_named_like_a_person_is_not_sent(name: str, planted: str) -> None:
    """Name and id leave as they are, so an event that has a person in one of them ends as invalid."""
    destination = load(name)
    settings = destination.settings.model_validate(settings_of(name))
    clean = cleaned(destination, event("purchase"))
    for changed in (replace(clean, name=planted), replace(clean, id=planted)):
        assert destination.render(changed, settings) == Skip(Outcome.INVALID, "personal_data_in_name_or_id")


def test_what_is_no_person_stays() -> None:
    """Handles, versions, sums and prices with signs in them are no addresses and no numbers: they leave as they are."""
    destination = load("meta")
    settings = destination.settings.model_validate(settings_of("meta"))
    for harmless in ("@shop", "1+1", "A+", "+5 %", "tea @ home", "size +2"):
        given = event("purchase", order={"id": harmless, "value": 1, "currency": "EUR", "items": [{"id": "a", "name": harmless}]})
        row = destination.render(cleaned(destination, given), settings)
        assert not isinstance(row, Skip)
        assert (row["custom_data"]["order_id"], row["custom_data"]["contents"][0]["title"]) == (harmless, harmless)


@cache
def _service_account() -> str:
    key = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return json.dumps({"client_email": "gate@project.iam.gserviceaccount.com", "private_key": key})


def _variants(name: str) -> Iterator[dict[str, Any]]:
    """Settings of a destination with a canary in each secret, one variant for each way of giving them."""
    given = settings_of(name)
    secrets = load(name).secret_settings
    marked = {key: f"{MARK}-{key}" if key in secrets and name != "webhook" else found for key, found in given.items()}
    yield marked
    if name == "x":
        oauth = {key: f"{MARK}-{key}" for key in ("consumer_key", "consumer_secret", "oauth_token", "oauth_token_secret")}
        yield {key: found for key, found in given.items() if key not in secrets} | oauth
    if "credentials" in secrets:
        yield {key: found for key, found in given.items() if key not in secrets} | {"credentials": _service_account()}


def _canaries(name: str, given: Mapping[str, Any]) -> list[str]:
    """The secrets as they stand in these settings; of a key file the lines of the key."""
    found = [str(given[key]) for key in load(name).secret_settings if key in given]
    return [part for one in found for part in (json.loads(one)["private_key"].split("\n")[1:-2] if one.startswith("{") else [one])]


SECRETS: Final = [(name, number) for name in sorted(DESTINATIONS) for number, _ in enumerate(_variants(name))]


@pytest.mark.parametrize("name", sorted(DESTINATIONS))
def test_every_secret_setting_is_of_the_type_that_hides_itself(name: str) -> None:
    """A destination's secrets are those of its settings that are SecretStr, all of them and no others."""
    hidden = {key for key, known in load(name).settings.model_fields.items() if SecretStr.__name__ in str(known.annotation)}
    assert hidden == set(load(name).secret_settings)


@pytest.mark.parametrize(("name", "number"), SECRETS)
def test_a_secret_stands_in_no_address_repr_or_rendered_line(name: str, number: int) -> None:
    """Only GA4 knows no header for its secret; whatever shows settings or requests shows stars."""
    destination, given = load(name), list(_variants(name))[number]
    canaries = _canaries(name, given)
    assert canaries or not destination.secret_settings
    settings = destination.settings.model_validate(given)
    row = destination.render(cleaned(destination, event("purchase")), settings)
    assert not isinstance(row, Skip)
    request = destination.envelope([row], settings)
    if destination.sign is not None:
        request = destination.sign(request, settings, 1_795_300_000)
    requests = [request]
    if destination.oauth is not None:
        asking = destination.oauth.request(settings, 1_795_300_000)
        requests += [] if asking is None else [asking]
    for one in requests:
        assert name == "ga4" or not [c for c in canaries if c in one.url]
        assert not [c for c in canaries if c in repr(one) + public_url(one)]
    told = json.dumps(render_line(destination, {"event": event("purchase"), "settings": given}))
    shown = f"{settings!r} {settings} {settings.model_dump()!r} {settings.model_dump_json()} {told}"
    assert not [c for c in canaries if c in shown]


@pytest.mark.parametrize("name", sorted(DESTINATIONS))
def test_a_wrong_setting_is_named_and_never_quoted(name: str) -> None:
    """Whatever is wrong with whichever setting, the error of the start says which one it is and not what was given."""
    good, refused = next(_variants(name)), 0
    wrong: tuple[Any, ...] = (
        f"{MARK}\n",
        f"https://u:{MARK}@h.example/",
        [MARK],
        {"a": MARK},
        {"a": [MARK]},
        f"whsec_{MARK}!",
        "",
    )
    for key in (*load(name).settings.model_fields, "no_such_key"):
        for value in wrong:
            try:
                configure_destinations(Settings.model_validate({"destinations": {name: {**good, key: value}}}))
            except ConfigError as error:
                refused += 1
                shown = f"{error!r} {error} {error.hint} {error.__cause__!r} {error.__suppress_context__}"
                assert MARK not in shown
                assert name in shown
    assert refused >= len(wrong)


def _echo(received: Received) -> str:
    headers = " ".join(value for name, value in received.headers if name not in ("host", "content-type", "content-length"))
    return f"{headers} {received.path}?{received.query} {received.body.decode('utf-8', 'replace')}"


async def test_no_secret_and_no_person_stands_in_any_line_of_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Platforms that echo each request in every kind of error: neither logs, nor the record, nor a status hold anything of it."""
    names = [name for name in sorted(DESTINATIONS) if name not in ("file", "kafka")]
    statuses = (429, 401, 500, 400)
    asked: dict[str, int] = {}

    def script(received: Received) -> Reply:
        target = received.path.split("/")[1]
        asked[target] = asked.get(target, 0) + 1
        told = _echo(received)
        status = statuses[min(asked[target], len(statuses)) - 1]
        if target == "s3" and status == 400:
            status = 412  # a bucket that refuses an object holds everything; one that has it already ends it
        if target == "webhook" and status == 400:
            status = 204  # any other answer is repeated for hours
        if target == "amplitude" and status == 429:
            status = 500  # Amplitude's push-back is half a minute
        return Reply.of(status, {"error": {"message": told, "status": told, "code": told}, "message": told, "errors": [told]})

    caplog.set_level(logging.DEBUG)
    canaries = {name: _canaries(name, next(_variants(name))) for name in names}
    async with RecordingSink(script).serve() as sink:
        lanes = []
        for name in names:
            given = next(_variants(name)) | {"endpoint": f"{sink.url}/{name}"}
            lanes.append(open_lane(load(name), load(name).settings.model_validate(given)))
        with capture_logs() as lines:
            async with open_house(tmp_path, lanes) as house:
                page = {"url": "https://shop.example/p", "referrer": "https://shop.example/"}
                given = event("purchase", page=page, properties={"color": "red"})
                cleans = [replace(cleaned(load(n), given), time_ms=now_ms(), policy=DIGEST, policy_file="eu.yaml") for n in names]
                cleans = [replace(c, consent={"analytics": "granted"}, needs=("analytics",)) for c in cleans]
                await house.store.append([new_event(1, cleans)])
                house.numbers[1] = set(names)
                house.runner.wake(names)
                for name in names:
                    await house.until_ended(name, 1, 30)
                await house.check()
                entries = [entry.body.decode() for entry in await house.store.log(limit=10_000)]
                states = [(n, s.figures.last_reason, s.figures.last_status, s.breaker) for n, s in house.runner.states().items()]
        received = [_echo(request) for request in sink.requests]
    assert {name for name in names if any(f"/{name}/" in one or f"/{name}?" in one for one in received)} == set(names)
    assert len(lines) > len(names), "nothing was logged"
    sent = " ".join(received)
    unsent = [c for name in names if name not in ("webhook", "s3") for c in canaries[name] if not any(w in sent for w in _ways(c))]
    assert unsent == [], "a canary that no request carries shows nothing"
    written = f"{lines!r} {caplog.text} {entries!r} {states!r}".lower()
    assert not [c for found in canaries.values() for c in found if any(way.lower() in written for way in _ways(c))]
    assert not [leak for leak in ("canary.bird", "7654321", "zephyrina", "quillfeather", "cust-9") if leak in written]


def _ways(secret: str) -> tuple[str, ...]:
    """As it is, and as the user name or the password of Basic authorisation."""
    return secret, b64encode(f"{secret}:".encode()).decode()[:24], b64encode(f":{secret}".encode()).decode()[4:28]
