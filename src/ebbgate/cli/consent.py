"""`ebbgate consent decode|why`: read consent signals, and see which one decided (DESIGN §5.3).

`decode` takes one JSON value a line and prints one JSON value a line, in order; a signal that does not decode completely is
`{"error": true}`. Exit 0 whatever the signals say, 2 when the command itself cannot run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

import typer

from ebbgate.cli.form import Form, FormOption, LayoutOption

if TYPE_CHECKING:
    from ebbgate.model import Consent, Place

app = typer.Typer(no_args_is_help=True, help="Decode consent signals and see who won.")

#: Longest input line, bytes: well above every format's own limit.
MAX_LINE: Final = 1024 * 1024
#: Keys of the Segment spec that a native event does not have.
_SEGMENT_KEYS: Final = frozenset({"type", "messageId", "context", "userId", "anonymousId"})


class Kind(StrEnum):
    """What the input values are."""

    TCF = "tcf"
    GPP = "gpp"
    USP = "usp"
    GCS_GCD = "gcs_gcd"
    GPC = "gpc"
    CMP_COOKIES = "cmp_cookies"
    AC = "ac"


@app.command()
def decode(
    kind: Annotated[Kind, typer.Option(help="What the input values are.")],
    reasons: Annotated[bool, typer.Option("--reasons", help="Say why a value is refused.")] = False,
    form: LayoutOption = Form.JSON,
    file: Annotated[str, typer.Argument(help="File of JSON lines; - reads standard input.")] = "-",
) -> None:
    """Decode consent signals: JSON lines in, JSON lines out."""
    decoder = decoder_of(kind)
    if file == "-":
        _decode_lines(decoder, sys.stdin.buffer, reasons=reasons, form=form)
        return
    try:
        with Path(file).open("rb") as lines:
            _decode_lines(decoder, lines, reasons=reasons, form=form)
    except OSError as error:
        raise _cannot_run(f"{file}: {error.strerror}") from None


def _decode_lines(decoder: Callable[[Any], dict[str, Any]], lines: BinaryIO, *, reasons: bool, form: Form) -> None:
    for line in _lines(lines):
        shown = decode_line(decoder, line, reasons=reasons)
        print(json.dumps(shown, separators=(",", ":")) if form is Form.JSON else json.dumps(shown, indent=2), flush=True)


def _lines(stream: BinaryIO) -> Iterable[bytes]:
    """Lines without their ends, blank ones left out; one that is too long is cut, so that it is no longer JSON."""
    while line := stream.readline(MAX_LINE):
        if not line.endswith(b"\n") and len(line) == MAX_LINE:
            while (rest := stream.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                pass
        if line.strip():
            yield line


def decode_line(decoder: Callable[[Any], dict[str, Any]], line: bytes, *, reasons: bool = False) -> dict[str, Any]:
    """One input line → its result, or `{"error": true}` (with `reason` on demand); never raises for bad input."""
    from ebbgate.errors import SignalError

    try:
        return decoder(json.loads(line))
    except SignalError as refused:
        return {"error": True, "reason": refused.message} if reasons else {"error": True}
    except (ValueError, RecursionError):
        return {"error": True, "reason": "not JSON"} if reasons else {"error": True}


def decoder_of(kind: Kind) -> Callable[[Any], dict[str, Any]]:
    """The function from a vector file's `input` to its `expected`; raises SignalError for what does not decode."""
    from ebbgate.consent import additional_consent, cmp_cookies, google, gpc, gpp, tcf, us_privacy

    def gcs_gcd(value: Any) -> dict[str, Any]:
        (name,) = _keys(value, {"gcs", "gcd"}, exactly=1)
        if name == "gcs":
            return dict(google.decode_gcs(_text(value[name])))
        return google.describe_gcd(google.decode_gcd(_text(value[name])))

    def headers(value: Any) -> dict[str, Any]:
        _keys(value, {"headers"}, exactly=1)
        pairs = [(_text(name), _text(text)) for name, text in _pairs(value["headers"])]
        return {"gpc": gpc.gpc(pairs), "dnt": gpc.dnt(pairs)}

    def cookies(value: Any) -> dict[str, Any]:
        _keys(value, {"cookie"}, exactly=1)
        return cmp_cookies.describe(cmp_cookies.read(cmp_cookies.jar(_text(value["cookie"]))))

    return {
        Kind.TCF: lambda value: tcf.describe(tcf.decode(_text(value))),
        Kind.GPP: lambda value: gpp.describe(gpp.decode(_text(value))),
        Kind.USP: lambda value: us_privacy.describe(us_privacy.decode(_text(value))),
        Kind.AC: lambda value: additional_consent.describe(additional_consent.decode(_text(value))),
        Kind.GCS_GCD: gcs_gcd,
        Kind.GPC: headers,
        Kind.CMP_COOKIES: cookies,
    }[kind]


def _text(value: Any) -> str:
    from ebbgate.errors import SignalError

    if not isinstance(value, str):
        raise SignalError("not text", code="input")
    return value


def _keys(value: Any, allowed: set[str], *, exactly: int) -> list[str]:
    from ebbgate.errors import SignalError

    if not isinstance(value, dict) or len(value) != exactly or not set(value) <= allowed:
        raise SignalError("not an object with the expected key", code="input")
    return list(value)


def _pairs(value: Any) -> list[tuple[Any, Any]]:
    from ebbgate.errors import SignalError

    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise SignalError("not a list of pairs", code="input")
    return [(name, text) for name, text in value]


@app.command()
def why(
    event: Annotated[Path, typer.Argument(help="File with one native or Segment-spec event as JSON.")],
    policy: Annotated[Path, typer.Option(help="Folder (or file) of policies.")] = Path("policies"),
    country: Annotated[str | None, typer.Option(help="Where the visitor is, e.g. DE; unknown when left out.")] = None,
    region: Annotated[str | None, typer.Option(help="Region, e.g. US-CA.")] = None,
    form: FormOption = Form.TEXT,
) -> None:
    """Show the consent signals of an event, what each one says, and which of them decided each purpose."""
    import time

    from ebbgate.app import facts_of
    from ebbgate.collect import native, segment
    from ebbgate.consent.place import make_place
    from ebbgate.consent.resolve import resolve
    from ebbgate.destinations.registry import DESTINATIONS
    from ebbgate.errors import EventError
    from ebbgate.model import Trust
    from ebbgate.policy.load import load_policies

    now_ms = time.time_ns() // 1_000_000
    try:
        value = json.loads(event.read_bytes())
        parse = segment.parse_event if isinstance(value, dict) and _SEGMENT_KEYS & value.keys() else native.parse_event
        _, signals = parse(value, site="", trust=Trust.SERVER, received_ms=now_ms)
    except OSError as error:
        raise _cannot_run(f"{event}: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise _cannot_run(f"{event}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError):
        raise _cannot_run(f"{event}: not JSON in UTF-8") from None
    except EventError as error:
        raise _cannot_run(f"{event}: {error.message}", error.hint) from None
    place = make_place(country or (region or "").partition("-")[0], region, "--country")
    chosen = load_policies(policy, facts_of(DESTINATIONS)).select(place)
    if chosen is None:
        raise _cannot_run("no policy governs this place: nothing leaves", "--country and --region say where; --policy which files")
    consent = resolve(signals, place, chosen.consent, now_ms)
    story = told(consent, place, f"{chosen.file}:{chosen.consent.line}")
    print(json.dumps(story, indent=2) if form is Form.JSON else as_text(story))


def _cannot_run(message: str, hint: str = "") -> typer.Exit:
    typer.echo(f"ebbgate: {message}", err=True)
    if hint:
        typer.echo(f"  hint: {hint}", err=True)
    return typer.Exit(2)


def told(consent: Consent, place: Place, rule: str) -> dict[str, Any]:
    """A resolution as JSON values: purposes, vendors and every signal found (without its raw string)."""
    return {
        "place": {"country": place.country, "region": place.region},
        "rules": rule,
        "model": consent.model.value,
        "choice_made": consent.choice_made,
        "purposes": {
            name: {"state": one.state.value, "source": one.source, "rule": one.rule} for name, one in consent.purposes.items()
        },
        "vendors": {destination: state.value for destination, state in consent.vendors.items()},
        "signals": [
            {"signal": one.signal, "valid": one.valid, "says": one.says, "digest": one.digest, "choice_made": one.choice_made}
            for one in consent.readings
        ],
    }


def as_text(story: dict[str, Any]) -> str:
    """The same for people: what was found, what each says, who won."""
    place = story["place"]["region"] or story["place"]["country"] or "an unknown place"
    lines = [f"Visitor in {place}: {story['model'].replace('_', '-')}, by {story['rules']}", "", "Signals found"]
    lines += [f"  {one['signal']:<24} {one['says']}{'' if one['valid'] else '  [refused]'}" for one in story["signals"]] or [
        "  none"
    ]
    lines += ["", "Who decided"]
    lines += [f"  {name:<24} {one['state']:<8} {one['source']}: {one['rule']}" for name, one in story["purposes"].items()]
    lines += [f"  vendor of {destination:<14} {state}" for destination, state in story["vendors"].items()]
    return "\n".join(lines)
