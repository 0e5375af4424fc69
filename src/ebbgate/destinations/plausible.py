"""Plausible Analytics (specs/destinations.md §3.7). One event a request, no time of its own: events cannot be sent late."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import Field, field_validator

from ebbgate.destinations import reading, wire
from ebbgate.destinations.kit import (
    HOUR_S,
    Act,
    Answer,
    Batch,
    Destination,
    DestinationSettings,
    HttpRequest,
    HttpResponse,
    Row,
    Skip,
    safe_address,
)
from ebbgate.model import CleanEvent, Outcome

_MAX_PROPS: Final = 30
_MAX_URL: Final = 2000
_NO_VISIT: Final = frozenset({"identify", "group", "alias"})


class Settings(DestinationSettings):
    """A site in Plausible."""

    domain: str = Field(min_length=1, description="Domain as the site is called in Plausible.")
    host: str = Field(default="https://plausible.io", description="Cloud, or the address of an own installation.")

    @field_validator("host")
    @classmethod
    def _safe_host(cls, value: str) -> str:
        return safe_address(value)


def render(clean: CleanEvent, settings: Settings) -> Row | Skip:
    """Row: `body` and the visitor's `agent` and `ip`, which Plausible reads from headers and hashes for a day."""
    if clean.name in _NO_VISIT:
        return Skip(Outcome.UNMAPPED, "no_hit_for_this_event")
    address, agent = reading.text(clean, "page.url"), reading.text(clean, "device.user_agent")
    if address is None or len(address) > _MAX_URL:
        return Skip(Outcome.INVALID, "page_url")
    if agent is None or not _header_safe(agent):
        return Skip(Outcome.INVALID, "user_agent")
    page = clean.name == "page_view"
    props = {k: _text(v) for k, v in reading.properties(clean).items() if not isinstance(v, list)}
    amount, code = reading.value(clean), reading.currency(clean)
    revenue = {"currency": code, "amount": reading.number_text(amount)} if amount is not None and code and not page else None
    body = {
        "domain": settings.domain,
        "name": "pageview" if page else reading.own_name(clean),
        "url": address,
        "referrer": reading.text(clean, "page.referrer"),
        "props": dict(list(props.items())[:_MAX_PROPS]),
        "revenue": revenue,
    }
    ip = reading.text(clean, "network.ip")
    return {"body": reading.without_empty(body), "agent": agent, "ip": ip if ip and _header_safe(ip) else None}


def _text(found: object) -> str:
    if isinstance(found, bool):
        return "true" if found else "false"
    return reading.number_text(found) if isinstance(found, (int, float)) else str(found)


def _header_safe(found: str) -> bool:
    return found.isascii() and found.isprintable()


def envelope(rows: Sequence[Row], settings: Settings) -> HttpRequest:
    """One event; the visitor's user agent and address stand in headers."""
    (row,) = rows
    headers: list[tuple[str, str]] = [("user-agent", row["agent"])]
    if row["ip"]:
        headers.append(("x-forwarded-for", row["ip"]))
    base = settings.endpoint or settings.host
    return wire.post(f"{base}/api/event", row["body"], headers=tuple(headers))


def classify(response: HttpResponse, n: int) -> Answer:
    """Always 202; `x-plausible-dropped: 1` says that the event was not counted."""
    if 200 <= response.status < 300:
        if response.headers.get("x-plausible-dropped") == "1":
            return Answer(Act.DONE, Outcome.REJECTED, reason="plausible_dropped")
        return Answer(Act.DONE, Outcome.ACCEPTED_UNVERIFIED, reason=f"http_{response.status}")
    return wire.by_status(response, n)


DESTINATION: Final = Destination(
    name="plausible",
    title="Plausible Analytics",
    recipient="Plausible Insights OÜ, or the operator of the installation",
    kind="analytics",
    docs="specs/destinations.md §3.7",
    settings=Settings,
    render=render,
    envelope=envelope,
    classify=classify,
    batch=Batch(events=1, body_bytes=64 << 10),
    max_age_s=2 * HOUR_S,  # counted when it arrives, so a late event would be counted at the wrong time
    dedupe_window_s=None,
    hosts=("plausible.io",),
    notes="No time and no dedupe key: repeats count twice. Without network.ip all visitors look like one.",
)
