"""`ebbgate init`: a folder that serves at once: settings, policies with their tests, schema for the editor, keys."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Annotated

import typer

from ebbgate.cli.form import Form, FormOption

SETTINGS = """\
# ebbgate: addresses, keys and limits. What may leave is in policies/, not here.
# Every key can be set by the environment too: EBBGATE_SERVER__PORT=9000, secrets also as EBBGATE_…_FILE=/run/secrets/….

[server]
host = "127.0.0.1"
port = 8080
prefix = "/e"
trusted_proxies = []            # e.g. ["127.0.0.1/32"]: whose X-Forwarded-For and country headers count

[admin]
host = "127.0.0.1"
port = 8081
# tokens = ["sha256:…"]         # metrics and queues are shut without one

[store]
url = "sqlite:///data/ebbgate.db"

[keys]
directory = "keys"              # keep a copy elsewhere: without it the queue and the log's openings cannot be read

[policies]
path = "policies"

[sites.shop]
origins = ["https://shop.example"]
server_keys = ["{key}"]         # of your servers: secret, more trusted than any page
# write_keys = ["shop-web"]     # public, of clients that have one (Segment, RudderStack, Jitsu): when listed, browsers must send one

# A destination runs only when it is configured here and a policy names it. Take the # away from those you use.
# With `endpoint` requests go to a stand-in such as `ebbgate sink`; without it they go to the platform.
# [destinations.ga4]
# measurement_id = "G-EXAMPLE"
# api_secret = "from-the-platform"        # better: EBBGATE_DESTINATIONS__GA4__API_SECRET_FILE=/run/secrets/…
# endpoint = "http://127.0.0.1:9001"
#
# [destinations.meta]
# pixel_id = "…"
# access_token = "…"
#
# [destinations.webhook]
# url = "https://hooks.example/ebbgate"
# secret = "whsec_…"
"""

SNIPPET = """\
<!-- For the head of every page, on the site's own origin; printed anew by `ebbgate tag` after each update.
     Nothing leaves before the visitor's answer is known: docs/guides/tag.md says which banners are heard by themselves. -->
{tag}<script>
  // Only where no banner of yours is heard: say yourself what was answered.
  // ebb("consent", {{analytics: "granted", advertising: "denied"}});
  // ebb("event", "purchase", {{order: {{id: "A-1009", value: 12, currency: "EUR"}}}});
</script>
"""

EVENT = """\
{"event": "page_view",
 "page": {"url": "https://shop.example/shoes?utm_source=newsletter&session=1f3c", "title": "Shoes"},
 "visitor": {"client_id": "1234567890.1731400000"},
 "user": {"email": "ana@example.com"},
 "consent": {"purposes": {"analytics": "granted", "advertising": "denied"}}}
"""

STEPS = """\
  next:
{enter}    ebbgate check policies && ebbgate test policies   # what may leave, and its own tests
    ebbgate explain first-event.json                  # what would become of this event
  then a first delivery, from end to end:
    1  in ebbgate.toml take the # from the lines of [destinations.ga4]
    2  ebbgate sink                                   # in a second terminal: stands in for the platform
    3  ebbgate serve                                  # in a third one: the gateway
    4  curl -H 'Origin: https://shop.example' -H 'Content-Type: application/json' \\
            --data @first-event.json http://127.0.0.1:8080/e/v1/events
    5  ebbgate audit search                           # the log: decision, attempt, answer"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(init)


def init(
    directory: Annotated[Path, typer.Argument(help="Where; made if absent.")] = Path("."), form: FormOption = Form.TEXT
) -> None:
    """Make settings, policies with tests, the editor's schema and keys. Nothing that is there is overwritten."""
    from ebbgate.edge.tag import snippet
    from ebbgate.policy.schema import policy_schema
    from ebbgate.policy.templates import templates
    from ebbgate.store.keys import KeyRing

    files = {
        "ebbgate.toml": SETTINGS.format(key=secrets.token_urlsafe(32)),
        "first-event.json": EVENT,
        "snippet.html": SNIPPET.format(tag=snippet("/e")),
        ".ebbgate/policy.schema.json": policy_schema(),
        **{f"policies/{name}": text for name, text in templates().items()},
    }
    present = [name for name in files if (directory / name).exists()]
    if present:
        from ebbgate.errors import ConfigError

        raise ConfigError(f"{directory}: {', '.join(present)} is there already", hint="name an empty folder")
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600 if name == "ebbgate.toml" else 0o644)
        path.write_text(text, encoding="utf-8")
    KeyRing.create(directory / "keys")
    created = [str(directory / name) for name in sorted([*files, "keys/"])]
    here = "" if directory == Path(".") else f"cd {directory} && "
    then = f"{here}ebbgate check policies && ebbgate test policies && ebbgate serve"
    if form is Form.JSON:
        typer.echo(json.dumps({"created": created, "next": then}, ensure_ascii=False))
        return
    for name in created:
        typer.echo(f"  created {name}")
    typer.echo(STEPS.format(enter="" if directory == Path(".") else f"    cd {directory}\n"))
