"""`ebbgate destination list|render|hash`: what there is, what one event becomes, how one value is hashed (DESIGN §5.3).

JSON lines in, JSON lines out, one line for one line, in order. `render` shows the mapping alone: everything the event carries
counts as allowed, the destination's own demands apply.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ebbgate.cli.form import Form, LayoutOption, laid_out

if TYPE_CHECKING:
    from ebbgate.destinations.kit import Destination, HttpRequest, Row
    from ebbgate.model import CleanEvent, Event

app = typer.Typer(no_args_is_help=True, help="Destinations: list them, render an event, hash a value.")

_FILE = typer.Argument(help="File of JSON lines; - reads standard input.")
_HIDDEN = "***"


class _Refused(Exception):
    """One input line that cannot be used; the message names keys, never values."""


@app.command("list")
def list_destinations(format: Annotated[str, typer.Option("--format", help="text, json or markdown")] = "text") -> None:
    """Print every destination: name, kind, settings, what it wants hashed."""
    from ebbgate.destinations.registry import DESTINATIONS

    rows = [_described(DESTINATIONS[name]) for name in sorted(DESTINATIONS)]
    if format == "json":
        print(json.dumps(rows, indent=2))
        return
    if format == "markdown":
        from ebbgate.destinations.reference import markdown

        print(markdown(DESTINATIONS.values()), end="")
        return
    if format != "text":
        _fail("--format is text, json or markdown")
    for row in rows:
        settings = ", ".join(f"{s}*" if s in row["secrets"] else s for s in row["settings"])
        print(f"{row['name']:<20} {row['kind']:<18} {row['title']}\n{'':<20} settings: {settings}")
        if row["hashed"]:
            print(f"{'':<20} hashed: {', '.join(row['hashed'])}")
    print("* a secret: give it as environment variable or file")


def _described(destination: Destination) -> dict[str, Any]:
    return {
        "name": destination.name,
        "title": destination.title,
        "kind": destination.kind,
        "recipient": destination.recipient,
        "settings": list(destination.settings.model_fields),
        "secrets": list(destination.secret_settings),
        "hashed": sorted(destination.demands_hash),
        "batch": destination.batch.events,
        "max_age_s": destination.max_age_s,
        "dedupe_window_s": destination.dedupe_window_s,
        "docs": destination.docs,
    }


@app.command()
def render(
    name: Annotated[str, typer.Argument(help="Name of the destination.")],
    file: Annotated[str, _FILE] = "-",
    show_secrets: Annotated[bool, typer.Option("--show-secrets", help="Print tokens and keys instead of ***.")] = False,
    form: LayoutOption = Form.JSON,
) -> None:
    """Print the requests that each {"event": …, "settings": …} line becomes, or why it is skipped."""
    from ebbgate.errors import DestinationError

    try:
        destination = _load(name)
    except DestinationError as error:
        _fail(f"{error.message}\n  hint: {error.hint}")

    def one(line: Mapping[str, Any]) -> dict[str, Any]:
        return render_line(destination, line, show_secrets=show_secrets)

    _each(file, one, form)


@app.command("hash")
def hash_values(file: Annotated[str, _FILE] = "-", form: LayoutOption = Form.JSON) -> None:
    """Print normalised form and SHA-256 of each {"platform", "field", "value", "country"?} line, or why it is rejected."""
    _each(file, hash_line, form)


def render_line(destination: Destination, line: Mapping[str, Any], *, show_secrets: bool = False) -> dict[str, Any]:
    """{"requests": […]} or {"skipped": reason} of one input line. Raises _Refused for a line that is no event or no settings."""
    from pydantic import ValidationError

    from ebbgate.deliver.batching import batches
    from ebbgate.destinations.kit import Skip

    try:
        settings = destination.settings.model_validate(line.get("settings") or {})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'settings'}: {e['type']}" for e in error.errors(include_input=False))
        raise _Refused(f"settings of {destination.name}: {wrong}") from None
    rows: list[Row] = []
    skipped: list[str] = []
    for clean in _clean_events(destination, _with_cookies(line)):
        row = destination.render(clean, settings)
        if isinstance(row, Skip):
            skipped.append(row.reason)
        else:
            rows.append(row)
    if not rows:
        return {"skipped": skipped[0] if skipped else "no_event"}
    groups = batches(rows, limit=destination.batch.events, key=destination.batch_key)
    requests = [_shown(destination.envelope(group, settings), show_secrets=show_secrets) for group in groups]
    return {"requests": requests, **({"skipped_events": skipped} if skipped else {})}


def _with_cookies(line: Mapping[str, Any]) -> object:
    """The event of a line; cookies beside it are taken as if they stood under `context.cookies`, where the event has none."""
    event, cookies = line.get("event"), line.get("cookies")
    if not isinstance(event, Mapping) or not isinstance(cookies, Mapping):
        return event
    context = event.get("context")
    return {**event, "context": {"cookies": cookies, **(context if isinstance(context, Mapping) else {})}}


def _clean_events(destination: Destination, given: object) -> Iterator[CleanEvent]:
    from ebbgate.cli.destination_walkeros import as_native, is_walkeros
    from ebbgate.collect import native, segment
    from ebbgate.collect.times import parse_time
    from ebbgate.errors import EventError
    from ebbgate.model import Trust
    from ebbgate.policy.clean import clean_everything

    if not isinstance(given, Mapping):
        raise _Refused("`event` is not an object")
    listed = given.get("events")
    for one in listed if isinstance(listed, list) else [given]:
        if not isinstance(one, Mapping):
            raise _Refused("`events` holds something that is not an object")
        if is_walkeros(one):
            one = as_native(one)
        when = next((t for key in ("time", "timestamp", "originalTimestamp", "receivedAt") if (t := parse_time(one.get(key)))), 0)
        parse = segment.parse_event if _is_segment(one) else native.parse_event
        try:
            event, signals = parse(one, site="site", trust=Trust.SERVER, received_ms=when)
        except EventError as error:
            raise _Refused(f"event: {error.message}") from None
        yield clean_everything(
            event,
            destination=destination.name,
            hashes=destination.hashes,
            demands_hash=_demanded(destination, event),
            google=_google_consent(one, dict(signals.purposes)),
            flags=_flags(destination, one),
        )


def _demanded(destination: Destination, event: Event) -> frozenset[str]:
    """What is to be hashed: not a field that came hashed in another form which the platform takes (Meta: MD5)."""
    from ebbgate.destinations.normalise import RULES, is_md5

    rules = RULES.get(destination.hash_platform or destination.name, {})
    as_it_is = {
        rule.path
        for rule in rules.values()
        if rule.md5_passes and isinstance(given := event.fields.get(rule.path), str) and is_md5(given)
    }
    return destination.demands_hash - as_it_is


def _is_segment(event: Mapping[str, Any]) -> bool:
    return "type" in event or "messageId" in event or "context" in event or "userId" in event or "anonymousId" in event


def _google_consent(event: Mapping[str, Any], purposes: Mapping[str, str]) -> dict[str, str]:
    """Google's consent fields: granted, as everything counts as allowed here, unless the event says otherwise."""
    fields = ("ad_storage", "ad_user_data", "ad_personalization")
    advertising = purposes.get("advertising")
    found = dict.fromkeys(fields, advertising if advertising in ("granted", "denied") else "granted")
    consent = event.get("consent")
    given = consent.get("purposes", {}) if isinstance(consent, Mapping) else {}
    return found | {k: v for k in fields if isinstance(given, Mapping) and (v := given.get(k)) in ("granted", "denied")}


def _flags(destination: Destination, event: Mapping[str, Any]) -> dict[str, bool]:
    """Restriction flags that the event names under `flags`, for a look at limited sending."""
    given = event.get("flags")
    return {f: True for f in destination.restriction_flags if isinstance(given, Mapping) and given.get(f) is True}


def _shown(request: HttpRequest, *, show_secrets: bool) -> dict[str, Any]:
    from ebbgate.destinations.kit import public_url

    headers = {k: v if show_secrets or k not in request.secret_headers else _HIDDEN for k, v in request.headers}
    return {
        "method": request.method,
        "url": request.url if show_secrets else public_url(request),
        "headers": headers,
        "body": _body(request, show_secrets=show_secrets),
    }


def _body(request: HttpRequest, *, show_secrets: bool) -> object:
    from urllib.parse import parse_qsl

    from ebbgate.destinations.packed import GZIP, ZSTD, unpacked

    if not request.body:
        return None
    kind = dict(request.headers).get("content-type", "").partition(";")[0]
    text = unpacked(request.body, kind).decode("utf-8", "replace")
    body: object
    if kind == "application/x-www-form-urlencoded":
        body = dict(parse_qsl(text, keep_blank_values=True))
    elif kind in ("application/x-ndjson", GZIP, ZSTD):
        body = [json.loads(line) for line in text.splitlines()]
    elif kind.endswith("json"):
        body = json.loads(text)
    else:
        body = text
    return body if show_secrets else _masked(body, request.secret_keys)


def _masked(body: object, secret_keys: tuple[str, ...]) -> object:
    if isinstance(body, Mapping):
        return {k: _HIDDEN if k in secret_keys else _masked(v, secret_keys) for k, v in body.items()}
    return [_masked(v, secret_keys) for v in body] if isinstance(body, list) else body


def hash_line(line: Mapping[str, Any]) -> dict[str, Any]:
    """{"normalized", "sha256"} or {"rejected": reason} of one input line."""
    from ebbgate.destinations.normalise import RULES, Rule

    platform, name, value, country = (line.get(k) for k in ("platform", "field", "value", "country"))
    if not isinstance(platform, str) or not isinstance(name, str):
        raise _Refused("`platform` and `field` are needed")
    destination = _load(platform)
    rule = RULES.get(destination.hash_platform or destination.name, {}).get(name)
    path = destination.hash_names.get(name, name)
    if rule is None and path in destination.hashes:
        rule = Rule(destination.hashes[path], path=path)
    if rule is None:
        return {"rejected": "field_not_taken"}
    if value is None or not isinstance(value, str) or (country is not None and not isinstance(country, str)):
        return {"rejected": "not_text"}
    normalised = rule.normalise(value, country)
    if not normalised:
        return {"rejected": "empty" if not value.strip() else "not_valid"}
    digest = rule.digest(normalised)
    if digest is not None and line.get("encoding") == "base64" and len(digest) == 64:
        import base64

        digest = base64.b64encode(bytes.fromhex(digest)).decode()
    return {"normalized": normalised, "sha256": digest}


def _load(name: str) -> Destination:
    """The destination of that name. Raises DestinationError with the nearest name, or with all of them."""
    from ebbgate.destinations.registry import ALIASES, DESTINATIONS, load
    from ebbgate.errors import DestinationError
    from ebbgate.setting_errors import did_you_mean

    try:
        return load(name)
    except DestinationError as error:
        hint = did_you_mean(name, [*DESTINATIONS, *ALIASES]) or error.hint
        raise DestinationError(error.message, code=error.code, hint=hint) from None


def _each(file: str, one: Any, form: Form) -> None:
    """Answer every line of `file`; exit 2 when a line could not be used."""
    from ebbgate.errors import EbbgateError

    failed = False
    for number, text in enumerate(_lines(file), 1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
            if not isinstance(line, dict):
                raise _Refused("not a JSON object")
            answer = one(line)
        except json.JSONDecodeError as error:
            failed, answer = True, {"error": f"line {number}, column {error.colno}: not JSON: {error.msg}"}
        except _Refused as error:
            failed, answer = True, {"error": f"line {number}: {error}"}
        except EbbgateError as error:
            failed, answer = True, {"error": f"line {number}: {error.message}", "hint": error.hint}
        print(laid_out(answer, form))
    if failed:
        raise typer.Exit(2)


def _lines(file: str) -> Iterator[str]:
    if file == "-":
        yield from sys.stdin
        return
    try:
        with Path(file).open(encoding="utf-8") as lines:
            yield from lines
    except OSError as error:
        _fail(f"{file}: {error.strerror}")
    except UnicodeDecodeError:
        _fail(f"{file}: not text in UTF-8")


def _fail(message: str) -> NoReturn:
    print(f"ebbgate: {message}", file=sys.stderr)
    raise typer.Exit(2)
