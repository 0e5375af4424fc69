"""`check`, `test`, `explain`, `schema`, `fmt`, `diff`: what privacy teams do with policy files.

Exit 0 clean, 1 findings, 2 could not run (DESIGN §5.3). Heavy modules are imported inside the commands.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ebbgate.cli import policy_records
from ebbgate.cli.form import Form, FormOption, LayoutOption, laid_out

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ebbgate.errors import Problem
    from ebbgate.policy.plan import DestinationFacts
    from ebbgate.settings import Settings

Config = Annotated[Path | None, typer.Option("--config", help="ebbgate.toml; default ./ebbgate.toml.")]
Paths = Annotated[list[Path] | None, typer.Argument(help="Directories or files; default: the policies of the settings.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(check)
    app.command("test")(run_tests)
    app.command()(explain)
    app.command()(schema)
    app.command()(fmt)
    app.command()(diff)
    policy_records.register(app)


def check(
    paths: Paths = None,
    format_: Annotated[str, typer.Option("--format", help="text, json, github or sarif.")] = "text",
    explain_code: Annotated[str | None, typer.Option("--explain", help="Print the page of a code, e.g. P012.")] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Put the suggested word where a word is misspelt.")] = False,
    config: Config = None,
) -> None:
    """Lint policy files and their tests: what is wrong, where, and what to do about it."""
    from ebbgate import __version__
    from ebbgate.policy import report

    if explain_code is not None and format_ in ("text", "json"):
        from ebbgate.policy.pages import page

        code, told = explain_code.upper(), page(explain_code.upper())
        typer.echo(json.dumps({"code": code, "page": told}, ensure_ascii=False) if format_ == "json" else told.rstrip("\n"))
        return
    if format_ not in ("text", "json", "github", "sarif"):
        raise _usage(f"--format {format_}: unknown format", "text, json, github or sarif")
    settings, facts, configured = _surroundings(config)
    found, files = _findings(paths or [settings.policies.path], facts, configured)
    if fix:
        for name in _fix(found):
            typer.echo(f"fixed {name}", err=True)
        found, files = _findings(paths or [settings.policies.path], facts, configured)
    if format_ == "json":
        typer.echo(report.as_json(found))
    elif format_ == "sarif":
        typer.echo(report.as_sarif(found, __version__))
    elif format_ == "github":
        if found:
            typer.echo(report.as_github(found))
    else:
        if found:
            typer.echo(report.as_text(found) + "\n")
        typer.echo(report.summary(found, files))
    raise typer.Exit(1 if any(p.severity == "error" for p in found) else 0)


def _fix(found: list[Problem]) -> list[str]:
    """Makes the safe renames in place and names the files."""
    from ebbgate.policy.fix import fixed

    changed = []
    for name in dict.fromkeys(p.file for p in found if p.line):
        before = Path(name).read_bytes().decode()  # bytes: line ends stay as they are
        after = fixed(before, [p for p in found if p.file == name])
        if after != before:
            Path(name).write_bytes(after.encode())
            changed.append(name)
    return changed


def _findings(
    paths: list[Path], facts: Mapping[str, DestinationFacts], configured: Collection[str] | None
) -> tuple[list[Problem], int]:
    """Problems of all policies and tests under `paths`, and how many files there are."""
    from ebbgate.policy.load import errors_of, examine, is_test, load_policies, read_files, read_tests, unread_files
    from ebbgate.policy.report import ordered
    from ebbgate.policy.suite import lint_suites

    found: list[Problem] = []
    files = 0
    alone = {name: raw for path in paths if not path.is_dir() and not is_test(path) for name, raw in read_files(path).items()}
    folders = {path: read_files(path) for path in paths if path.is_dir()}
    for policies in [*folders.values(), *([alone] if alone else [])]:
        found += examine(policies, facts, configured=configured, whole=policies is not alone)[1]
        files += len(policies)
    for path in folders:
        unread = unread_files(path)
        found += unread
        files += len(unread)
    for path in [p for p in paths if p.is_dir() or is_test(p)]:
        tests = read_tests(path)
        if tests and not errors_of(examine(read_files(path if path.is_dir() else path.parent), facts)[1]):
            found += lint_suites(tests, load_policies(path if path.is_dir() else path.parent, facts))
            files += 0 if path.is_dir() else 1
    return ordered(found), files


def run_tests(
    paths: Paths = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="One line a case.")] = False,
    coverage: Annotated[bool, typer.Option("--coverage", help="Name the lines of the policies that no case reaches.")] = False,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write the results as JUnit XML.")] = None,
    form: FormOption = Form.TEXT,
    config: Config = None,
) -> None:
    """Run the *_test.yaml files beside the policies."""
    from time import perf_counter

    from ebbgate.consent.resolve import resolve
    from ebbgate.policy import suite_report
    from ebbgate.policy.load import load_policies, read_tests
    from ebbgate.policy.suite import run_suites

    settings, facts, _ = _surroundings(config)
    results = [
        run_suites(read_tests(path), load_policies(path if path.is_dir() else path.parent, facts), resolve, timer=perf_counter)
        for path in paths or [settings.policies.path]
    ]
    if form is Form.JSON:
        typer.echo(suite_report.as_json(results))
    else:
        typer.echo(suite_report.as_text(results, verbose=verbose, coverage=coverage))
    if junit is not None:
        junit.write_text(suite_report.as_junit(results), encoding="utf-8")
    raise typer.Exit(0 if suite_report.passed(results) else 1)


def explain(
    event: Annotated[Path, typer.Argument(help="A native or Segment-spec event as JSON; - reads it from standard input.")],
    country: Annotated[str | None, typer.Option(help="ISO country of the visitor, e.g. DE.")] = None,
    region: Annotated[str | None, typer.Option(help="Region of the visitor, e.g. US-CA.")] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", "--draft", help="Policies to judge by; default: the settings'.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    now: Annotated[str | None, typer.Option(help="The time to judge at, ISO 8601; default: now, or that of --as-of.")] = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="Judge by the policies that were in force then, ISO 8601.")] = None,
    revision: Annotated[str | None, typer.Option(help="Judge by a kept revision: its digest or the beginning of it.")] = None,
    config: Config = None,
) -> None:
    """Tell the story of one event: what would leave, to whom, and which line says so. Nothing is sent."""
    from ebbgate.consent.resolve import resolve
    from ebbgate.model import EMPTY, Consent, Model
    from ebbgate.policy import explain as telling
    from ebbgate.policy.clean import clean
    from ebbgate.policy.decide import decide
    from ebbgate.policy.load import load_policies
    from ebbgate.policy.places import known_country, known_region

    if format_ not in ("text", "json"):
        raise _usage(f"--format {format_}: unknown format", "text or json")
    settings, facts, configured = _surroundings(config)
    now_ms = _now_ms(now or as_of)
    if policy is not None and (as_of is not None or revision is not None):
        raise _usage("--policy, --as-of and --revision exclude each other", "give one of them")
    if country is not None and not known_country(country.upper()):
        raise _usage(f"--country {country}: not a country", "two letters of ISO 3166, such as DE")
    if region is not None and not known_region(region.upper()):
        raise _usage(f"--region {region}: not a region", "country and region, such as US-CA")
    read, signals, place = _read_event(event, country, region, now_ms)
    if as_of is not None or revision is not None:
        policies = policy_records.past_policies(settings, facts, as_of=as_of, revision=revision)
    else:
        policies = load_policies(policy or settings.policies.path, facts)
    chosen = policies.select(place)
    consent = resolve(signals, place, chosen.consent, now_ms) if chosen else Consent(Model.OPT_IN, EMPTY)
    decisions = decide(read, consent, chosen, configured or policies.destinations)
    cleaned = {
        d.destination: clean(read, d, chosen, consent, pseudonym=lambda _: "pseudonym")
        for d in decisions
        if chosen is not None and d.fields
    }
    told = telling.story(read, place, consent, chosen, decisions, cleaned=cleaned, draft=policy is not None)
    if format_ == "json":
        typer.echo(json.dumps(telling.as_json(told), indent=2, ensure_ascii=False))
    else:
        typer.echo(telling.as_text(told, columns=shutil.get_terminal_size().columns if sys.stdout.isatty() else 0))


def _read_event(path: Path, country: str | None, region: str | None, now_ms: int) -> Any:
    """The event of a file, its consent signals and its place. Raises EbbgateError naming paths, never values."""
    from ebbgate.collect import native, segment
    from ebbgate.collect.strict_json import loads
    from ebbgate.errors import ConfigError, EbbgateError
    from ebbgate.model import Place, Trust

    try:
        raw = typer.get_binary_stream("stdin").read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: the event cannot be read: {error.strerror}") from None
    try:
        found = loads(raw)
    except EbbgateError as error:
        raise ConfigError(f"{path}: {error.message}", hint=error.hint) from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: an event is one JSON object")
    told = found.pop("place", None)
    told = told if isinstance(told, dict) else {}
    parse = segment.parse_event if "type" in found else native.parse_event
    event, signals = parse(found, site="explain", trust=Trust.SERVER, received_ms=now_ms)
    # What the command line says of the place replaces all that the file says of it.
    given = {"country": country, "region": region} if country or region else told
    chosen_region = _code(given.get("region"))
    chosen_country = _code(given.get("country")) or (chosen_region or "").partition("-")[0] or None
    source = "command line" if country or region else "event" if told else "unknown"
    return event, signals, Place(chosen_country, chosen_region, source)


def _code(value: Any) -> str | None:
    return value.upper() if isinstance(value, str) and value else None


def _now_ms(text: str | None) -> int:
    import time
    from datetime import UTC, datetime

    if text is None:
        return time.time_ns() // 1_000_000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _usage(f"--now {text}: not a time", "write it like 2026-11-21T22:31:21Z") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def schema(form: LayoutOption = Form.TEXT, config: Config = None) -> None:
    """Print the JSON Schema of policy files, for editors."""
    from ebbgate.policy.schema import policy_schema

    typer.echo(laid_out(json.loads(policy_schema(_surroundings(config)[1])), form))


def fmt(
    paths: Paths = None,
    check_only: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 when a file would change.")] = False,
    form: FormOption = Form.TEXT,
    config: Config = None,
) -> None:
    """Lay out policy and test files alike. Comments, words and order stay."""
    from ebbgate.policy.fmt import formatted
    from ebbgate.policy.load import policy_files, read_tests
    from ebbgate.settings import load_settings

    found = paths or [load_settings(config).policies.path]
    files = [f for path in found for f in (policy_files(path) + [Path(n) for n in read_tests(path)] if path.is_dir() else [path])]
    changed: list[str] = []
    for file in files:
        # Bytes: line ends are one of the things that are looked at.
        before = file.read_bytes().decode("utf-8")
        after = formatted(before)
        if after != before:
            changed.append(str(file))
            if form is Form.TEXT:
                typer.echo(f"{'would change' if check_only else 'formatted'} {file}")
            if not check_only:
                file.write_bytes(after.encode())
    if form is Form.JSON:
        typer.echo(json.dumps({"files": len(files), "changed": changed, "written": not check_only}, ensure_ascii=False))
    else:
        typer.echo(f"{len(changed)} of {len(files)} files {'would change' if check_only else 'changed'}")
    raise typer.Exit(1 if check_only and changed else 0)


def diff(
    old: Annotated[Path, typer.Argument(help="A directory or file of policies.")],
    new: Annotated[Path, typer.Argument(help="Another revision of it.")],
    allow: Annotated[bool, typer.Option("--allow", help="Exit 0 even when more would leave: somebody has agreed.")] = False,
    traffic: Annotated[str | None, typer.Option(help="Count on recorded traffic since 7d, 1h or a time, not on generated.")] = None,
    format_: Annotated[str, typer.Option("--format", help="text or json.")] = "text",
    config: Config = None,
) -> None:
    """Compare two revisions: the text, and the effect on every situation in which they could differ. Nothing is sent."""
    from dataclasses import asdict

    from ebbgate.policy import diff as comparing
    from ebbgate.policy.load import load_policies, read_files

    if format_ not in ("text", "json"):
        raise _usage(f"--format {format_}: unknown format", "text or json")
    settings, facts, _ = _surroundings(config)
    before, after = load_policies(old, facts), load_policies(new, facts)
    what = "generated" if traffic is None else "recorded"
    events = comparing.generated(before, after) if traffic is None else policy_records.recorded(settings, traffic)
    found = comparing.effect(before, after, events)
    if format_ == "json":
        typer.echo(json.dumps({**asdict(found), "lets_more_out": found.lets_more_out}, indent=2))
    else:
        texts = [{Path(n).name: raw.decode("utf-8") for n, raw in read_files(path).items()} for path in (old, new)]
        changes = comparing.text_diff(*texts)
        typer.echo((changes + "\n\n" if changes else "") + comparing.effect_text(found, what))
    raise typer.Exit(1 if found.lets_more_out and not allow else 0)


def _surroundings(config: Path | None) -> tuple[Settings, dict[str, DestinationFacts], tuple[str, ...] | None]:
    """Settings, what is known of the destinations, and which of them are configured (None: none is, so none is missed)."""
    from ebbgate.app import facts_of
    from ebbgate.destinations.registry import DESTINATIONS
    from ebbgate.settings import load_settings

    settings = load_settings(config)
    return settings, facts_of(DESTINATIONS), tuple(settings.destinations) or None


def _usage(message: str, hint: str) -> Exception:
    from ebbgate.errors import ConfigError

    return ConfigError(message, hint=hint)
