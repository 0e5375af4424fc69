"""The only reader of the environment and of ebbgate.toml (DESIGN §5.4). Frozen; unknown keys are errors.

Order, strongest first: `EBBGATE_…` variables (`__` for nesting), `EBBGATE_…_FILE` (the value is in that file), ebbgate.toml.
A variable and its `_FILE` twin together are refused. Paths in the file are relative to the file.
"""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from ebbgate.errors import ConfigError
from ebbgate.setting_errors import Origin, places, told

PREFIX = "EBBGATE_"
TEST_PREFIX = "EBBGATE_TEST_"  #: read by the test suite, never by the product


def _network(value: object) -> object:
    if isinstance(value, str):
        try:
            return ipaddress.ip_network(value)
        except ValueError:
            raise ValueError("a network is an address and a length, other bits zero, e.g. 10.0.0.0/8 or 127.0.0.1/32") from None
    return value


Network: TypeAlias = Annotated[ipaddress.IPv4Network | ipaddress.IPv6Network, BeforeValidator(_network)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _origin(value: object) -> object:
    """An exact web origin: scheme://host[:port], nothing after."""
    if isinstance(value, str):
        parts = urlsplit(value)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.path
            or parts.query
            or parts.fragment
            or "@" in value
        ):
            raise ValueError("an origin is scheme://host[:port] without a path, e.g. https://shop.example")
        return value.lower()
    return value


def _prefix(value: object) -> object:
    if isinstance(value, str) and (not value.startswith("/") or value.endswith("/") or "//" in value):
        raise ValueError("a prefix starts with / and does not end with it, e.g. /e")
    return value


class ServerSettings(_Part):
    """The collection host: what the internet reaches."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="TCP port; 0 takes a free one.")
    prefix: Annotated[str, BeforeValidator(_prefix)] = Field(
        default="/e", description="Path before every route but health and /.well-known."
    )
    trusted_proxies: tuple[Network, ...] = Field(
        default=(), description="Networks of your proxies: their X-Forwarded-For and geo headers count."
    )
    max_body_bytes: int = Field(
        default=512 * 1024, ge=1024, le=16 << 20, description="Bytes of one request's body, also once decompressed."
    )
    max_events: int = Field(default=500, ge=1, le=5000, description="Events in one request.")
    max_connections_per_address: int = Field(
        default=200, ge=1, description="Connections of one peer at once; trusted proxies are exempt."
    )
    header_timeout_s: float = Field(default=5, gt=0, description="Seconds in which a request's head must be there.")
    body_timeout_s: float = Field(default=10, gt=0, description="Seconds in which its body must be there.")
    gpc_well_known: str | None = Field(
        default=None,
        pattern=r"^\d{4}-\d{2}-\d{2}$",
        description="A date, `2026-11-21`: serve /.well-known/gpc.json with it as lastUpdate.",
    )


class LimitSettings(_Part):
    """How often one sender may send (edge/limits.py); over it the answer is 429 with Retry-After. 0 = no limit."""

    per_address_per_s: float = Field(
        default=0, ge=0, le=1e6, description="Requests a second of one client address (IPv6: its /64), on average. 0: no limit."
    )
    per_address_burst: int = Field(default=500, ge=1, description="Requests that it may send at once.")
    per_key_per_s: float = Field(default=0, ge=0, le=1e6, description="Requests a second with one server key. 0: no limit.")
    per_key_burst: int = Field(default=5000, ge=1, description="Requests that may come with it at once.")
    remembered: int = Field(default=100_000, ge=100, description="Addresses remembered at once, as keyed hashes.")


class AdminSettings(_Part):
    """The admin host: never the public listener."""

    host: str = Field(default="127.0.0.1", description="Address to listen on; keep it off the internet.")
    port: int = Field(default=8081, ge=0, le=65535, description="TCP port; 0 takes a free one.")
    tokens: tuple[SecretStr, ...] = Field(default=(), description="Bearer tokens, or `sha256:<hex>` of them. None: health only.")


class StoreSettings(_Part):
    """Where events are stored."""

    url: str = Field(default="sqlite:///data/ebbgate.db", description="The SQLite file; its folder holds the events too.")
    duplicate_window_days: float = Field(
        default=8,
        gt=0,
        le=400,
        description="Days in which a conversion's copy is a duplicate; another event's is over the last 8 files.",
    )
    segment_events: int = Field(
        default=250_000, ge=100, description="Events after which the next file is begun; an hour or 512 MiB end one too."
    )
    min_free_bytes: int = Field(default=64 << 20, ge=0, description="Free bytes on the disk below which no event is taken (503).")


class KeySettings(_Part):
    """Where the keys are: outside the data directory."""

    directory: Path = Field(default=Path("keys"), description="Folder of the key files; keep it and its copy apart from the store.")


class PolicySettings(_Part):
    """Where the policy files are."""

    path: Path = Field(default=Path("policies"), description="Folder of the policy files.")
    reload_s: float = Field(default=1.0, gt=0, le=60, description="Seconds between looks for changed files.")


class HoldSettings(_Part):
    """How many events may wait for their visitors' decisions (`if_missing: hold`); over a bound an event is withheld."""

    max_per_visitor: int = Field(default=50, ge=0, description="Waiting events of one visitor.")
    max_events: int = Field(default=100_000, ge=0, description="Waiting events in all.")
    max_bytes: int = Field(default=256 << 20, ge=0, description="Bytes of their payloads in all.")


class VisitorCookieSettings(_Part):
    """The first-party cookie that the server sets after a grant (edge/visitor_cookie.py)."""

    enabled: bool = Field(default=True, description="`false`: the server sets no cookie.")
    name: str = Field(default="ebb_id", pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Name of the cookie.")
    days: int = Field(default=395, ge=1, le=400, description="Days that it lives; browsers keep none for longer than 400.")
    needs: tuple[str, ...] = Field(default=("analytics",), min_length=1, description="Purposes that all must be granted for it.")


class DeliverySettings(_Part):
    """How deliveries are made."""

    enabled: bool = Field(default=True, description="`false`: events are taken and stored, and nothing is sent.")
    deadline_s: float = Field(default=30, gt=0, le=300, description="Seconds that one request to a destination may take in all.")


class SiteSettings(_Part):
    """One website: its exact origins and the keys of its own servers."""

    origins: tuple[Annotated[str, BeforeValidator(_origin)], ...] = Field(
        default=(), description="Origins of its pages, exactly as browsers send them: `https://shop.example`."
    )
    server_keys: tuple[SecretStr, ...] = Field(
        default=(), description="Bearer keys of its own servers, 16 characters or more, or `sha256:<hex>` of them."
    )
    write_keys: tuple[str, ...] = Field(
        default=(),
        description="Public keys that browsers' Segment, RudderStack and Jitsu clients send. None: their Origin suffices.",
    )

    @field_validator("server_keys")
    @classmethod
    def _long_enough(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(k.get_secret_value()) < 16 for k in keys):
            raise ValueError("a server key has at least 16 characters")
        return keys


class Settings(BaseSettings):
    """All settings of one gateway."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, case_sensitive=False, hide_input_in_errors=True
    )

    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    admin: AdminSettings = AdminSettings()
    store: StoreSettings = StoreSettings()
    keys: KeySettings = KeySettings()
    policies: PolicySettings = PolicySettings()
    holds: HoldSettings = HoldSettings()
    visitor_cookie: VisitorCookieSettings = VisitorCookieSettings()
    delivery: DeliverySettings = DeliverySettings()
    sites: Mapping[str, SiteSettings] = Field(default_factory=dict)
    destinations: Mapping[str, Mapping[str, Any]] = Field(
        default_factory=dict, repr=False, description="Checked by each destination's own settings; may hold secrets."
    )
    log_format: Literal["json", "console"] = Field(default="json", description="`json` lines for programs, `console` for people.")
    _origin: Origin = PrivateAttr(default_factory=Origin)

    @property
    def origin(self) -> Origin:
        """Where each setting stands, for messages about those that are checked later."""
        return self._origin

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment is stronger than the file, which arrives as init arguments."""
        if isinstance(env_settings, EnvSettingsSource):
            # …_FILE twins are read by `_secrets_from_files`: to pydantic they would be unknown keys.
            env_settings.env_vars = {k: v for k, v in env_settings.env_vars.items() if not k.endswith("_file")}
        return env_settings, init_settings

    def store_path(self) -> Path:
        """Path of the SQLite file. Raises ConfigError for another engine."""
        scheme, _, path = self.store.url.partition(":///")
        if scheme != "sqlite" or not path:
            raise ConfigError(
                f"store.url: {scheme or 'nothing'} is not an engine of this version", hint='use "sqlite:///data/ebbgate.db"'
            )
        return Path(path)


def load_settings(path: Path | str | None = None, *, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read `path` (default ./ebbgate.toml, which may be absent) and the environment.

    Raises ConfigError naming the file and the key; it never shows a value.
    """
    file = Path(path) if path is not None else Path("ebbgate.toml")
    data: dict[str, Any] = {}
    text = ""
    if path is not None or file.exists():
        try:
            text = file.read_text(encoding="utf-8")
            data = tomllib.loads(text)
        except FileNotFoundError:
            raise ConfigError(f"{file}: no such file", hint="make one with `ebbgate init`, or name it with --config") from None
        except tomllib.TOMLDecodeError as error:
            raise _not_toml(file, error) from None
        except UnicodeDecodeError:  # its own text quotes bytes of the file, which may be a secret
            raise ConfigError(f"{file}: not TOML: not UTF-8", hint="save it as UTF-8") from None
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    _check_environment()
    _secrets_from_files(data)
    origin = Origin(str(file), places(text), _variables())
    for key, value in (overrides or {}).items():
        _put(data, key.split("."), value)
    try:
        settings = Settings(**data)
    except ValidationError as error:
        raise ConfigError("\n".join(_problem(origin, e) for e in error.errors(include_input=False, include_url=False))) from None
    settings._origin = origin
    return _relative_to(settings, file.parent)


def secret_digest(value: str) -> str:
    """SHA-256 hex of a bearer secret; `sha256:<hex>` in the settings stands for itself."""
    scheme, _, rest = value.partition(":")
    return rest.lower() if scheme == "sha256" and rest else hashlib.sha256(value.encode()).hexdigest()


def _not_toml(file: Path, error: tomllib.TOMLDecodeError) -> ConfigError:
    """The place before the sentence, as everywhere."""
    found = re.fullmatch(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", str(error))
    what = found["what"] if found else str(error)
    place = f":{found['line']}:{found['column']}" if found and found["line"] else ": at its end"
    twice = re.fullmatch(r"Cannot declare \((.*?),?\) twice", what)
    if twice:
        names = ".".join(re.findall("'([^']*)'", twice[1]))
        what = f"the table [{names}] stands twice"
    return ConfigError(f"{file}{place}: not TOML: {what}", hint="text stands in quotes, a table's name in brackets, a key once")


def _put(data: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        data = data.setdefault(part, {})
    data[path[-1]] = value


def _check_environment() -> None:
    """A misspelt section would be a setting that silently does nothing."""
    for name in sorted(os.environ):
        section = name.removeprefix(PREFIX).lower().split("__")[0].removesuffix("_file")
        if name.startswith(PREFIX) and section not in Settings.model_fields and not name.startswith(TEST_PREFIX):
            close = difflib.get_close_matches(section, Settings.model_fields, n=1)
            hint = f"did you mean {PREFIX}{close[0].upper()}…?" if close else f"known: {', '.join(sorted(Settings.model_fields))}"
            raise ConfigError(f"{name}: unknown setting '{section}'", hint=hint)


def _secrets_from_files(data: dict[str, Any]) -> None:
    """`EBBGATE_A__B_FILE=/run/secrets/b` sets a.b to the file's text, one trailing newline trimmed."""
    for name, file in sorted(os.environ.items()):
        if not name.startswith(PREFIX) or not name.endswith("_FILE"):
            continue
        twin = name.removesuffix("_FILE")
        if twin in os.environ:
            raise ConfigError(f"{twin} and {name} are both set", hint="keep one of them")
        try:
            text = Path(file).read_text(encoding="utf-8")
        except OSError as error:
            hint = "make the file, or let the gateway's user read it"
            raise ConfigError(f"{name}: {file}: {error.strerror or 'cannot be read'}", hint=hint) from None
        except UnicodeDecodeError:
            raise ConfigError(f"{name}: {file}: not text in UTF-8", hint="a secret file holds the secret alone, as text") from None
        _put(data, twin.removeprefix(PREFIX).lower().split("__"), text.removesuffix("\n"))


def _variables() -> dict[tuple[str, ...], str]:
    """Path of a setting → the variable that set it, for messages."""
    return {
        tuple(name.upper().removeprefix(PREFIX).removesuffix("_FILE").lower().split("__")): name
        for name in os.environ
        if name.upper().startswith(PREFIX)
    }


def _problem(origin: Origin, error: Mapping[str, Any]) -> str:
    return told(error, under=(), origin=origin, known=_keys_at([str(p) for p in error["loc"][:-1]]))


def _keys_at(loc: list[str]) -> list[str]:
    model: Any = Settings
    for part in loc:
        if model is Settings and part == "sites":
            model = {"*": SiteSettings}
        elif isinstance(model, dict):
            model = model["*"]
        elif isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            model = model.model_fields[part].annotation
        else:
            return []
    return sorted(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _relative_to(settings: Settings, base: Path) -> Settings:
    """Paths of the file are relative to the file's folder."""
    url = settings.store.url
    scheme, sep, path = url.partition(":///")
    if scheme == "sqlite" and sep and not Path(path).is_absolute():
        url = f"sqlite:///{base / path}"
    return settings.model_copy(
        update={
            "store": settings.store.model_copy(update={"url": url}),
            "keys": settings.keys.model_copy(update={"directory": base / settings.keys.directory}),
            "policies": settings.policies.model_copy(update={"path": base / settings.policies.path}),
        }
    )
