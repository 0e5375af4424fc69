"""What a browser's request itself says, before its body: consent signals, device, network, identifier cookies. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from ebbgate.collect.consent_object import NO_SIGNALS
from ebbgate.collect.cookies import cookie_fields
from ebbgate.model import Place, RawRequest, Signals, Trust, Value

GPC_ONLY = replace(NO_SIGNALS, gpc=True)
#: Stands for a Cookie header beyond the bounds: no client can send a cookie of this name.
TOO_MANY = (("\x00", ""),)


def request_signals(request: RawRequest) -> Signals:
    """Sec-GPC, DNT and consent cookies. `NO_SIGNALS` itself when there are none, so that callers can skip the merge."""
    gpc = False
    dnt: bool | None = None
    for name, value in request.headers:
        if name == "sec-gpc":
            # Several header lines or a joined list: one member `1` suffices (specs/consent.md §3).
            gpc = gpc or any(member.strip() == "1" for member in value.split(","))
        elif name == "dnt":
            # Of several lines one `1` counts, as with Sec-GPC.
            dnt = dnt or {"1": True, "0": False}.get(value.strip(), dnt)
    cookies = request.cookies if request.cookies and request.trust is Trust.BROWSER else ()
    if not cookies and dnt is None:
        return GPC_ONLY if gpc else NO_SIGNALS
    if cookies == TOO_MANY:
        return replace(NO_SIGNALS, gpc=gpc, dnt=dnt, malformed=("cmp_cookies",))
    return replace(NO_SIGNALS, gpc=gpc, dnt=dnt, cmp_cookies=cookies)


def request_fields(request: RawRequest, place: Place) -> dict[str, Value]:
    """Fields that hold for every event of a browser's request. Times in ms, address as text."""
    fields: dict[str, Value] = {"network.ip": request.peer}
    agent = languages = None  # the first line of each counts
    for name, value in request.headers:
        if name == "user-agent":
            agent = value if agent is None else agent
        elif name == "accept-language":
            languages = value if languages is None else languages
    if agent:
        fields["device.user_agent"] = agent[:1024]
    if languages:
        fields["device.language"] = languages.partition(",")[0].partition(";")[0].strip()[:35]
    if place.country:
        fields["place.country"] = place.country
    if place.region:
        fields["place.region"] = place.region
    if request.cookies:
        fields.update(cookie_fields(request.cookies))
    return fields
