"""`ebbgate init`: a folder that serves at once: settings, policies with their tests, schema for the editor, keys."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer

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

# A destination runs only when it is configured here and a policy names it.
# [destinations.ga4]
# measurement_id = "G-…"
# api_secret = "…"              # better: EBBGATE_DESTINATIONS__GA4__API_SECRET_FILE
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


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(init)


def init(directory: Annotated[Path, typer.Argument(help="Where; made if absent.")] = Path(".")) -> None:
    """Make settings, policies with tests, the editor's schema and keys. Nothing that is there is overwritten."""
    from ebbgate.edge.tag import snippet
    from ebbgate.policy.schema import policy_schema
    from ebbgate.policy.templates import templates
    from ebbgate.store.keys import KeyRing

    files = {
        "ebbgate.toml": SETTINGS.format(key=secrets.token_urlsafe(32)),
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
    for name in sorted([*files, "keys/"]):
        typer.echo(f"  created {directory / name}")
    here = "" if directory == Path(".") else f"cd {directory} && "
    typer.echo(f"  next: {here}ebbgate check policies && ebbgate test policies && ebbgate serve")
