"""The only reader of the environment and of ebbgate.toml (DESIGN §5.4). Frozen; unknown keys are errors.

Order, strongest first: `EBBGATE_…` variables (`__` for nesting), `EBBGATE_…_FILE` (the value is in that file), ebbgate.toml.
A variable and its `_FILE` twin together are refused. Paths in the file are relative to the file.
"""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from ebbgate.errors import ConfigError

PREFIX = "EBBGATE_"
TEST_PREFIX = "EBBGATE_TEST_"  #: read by the test suite, never by the product
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


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

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    prefix: Annotated[str, BeforeValidator(_prefix)] = "/e"
    trusted_proxies: tuple[Network, ...] = Field(default=(), description="Networks whose forwarded-for and geo headers count.")
    max_body_bytes: int = Field(default=512 * 1024, ge=1024, le=16 << 20)
    max_events: int = Field(default=500, ge=1, le=5000, description="Events in one request.")
    max_connections_per_address: int = Field(default=200, ge=1, description="Of one peer; trusted proxies are exempt.")
    header_timeout_s: float = Field(default=5, gt=0)
    body_timeout_s: float = Field(default=10, gt=0)
    gpc_well_known: str | None = Field(
        default=None, pattern=r"^\d{4}-\d{2}-\d{2}$", description="Serve /.well-known/gpc.json with this lastUpdate."
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

    host: str = "127.0.0.1"
    port: int = Field(default=8081, ge=0, le=65535)
    tokens: tuple[SecretStr, ...] = Field(default=(), description="Bearer tokens, or sha256:<hex> of them. None: health only.")


class StoreSettings(_Part):
    """Where events are stored."""

    url: str = "sqlite:///data/ebbgate.db"
    duplicate_window_days: float = Field(default=8, gt=0, le=400)
    segment_events: int = Field(default=250_000, ge=100)
    min_free_bytes: int = Field(default=64 << 20, ge=0)


class KeySettings(_Part):
    """Where the keys are: outside the data directory."""

    directory: Path = Path("keys")


class PolicySettings(_Part):
    """Where the policy files are."""

    path: Path = Path("policies")
    reload_s: float = Field(default=1.0, gt=0, le=60)


class HoldSettings(_Part):
    """How many events may wait for their visitors' decisions (`if_missing: hold`); over a bound an event is withheld."""

    max_per_visitor: int = Field(default=50, ge=0, description="Events of one visitor.")
    max_events: int = Field(default=100_000, ge=0, description="Events in all.")
    max_bytes: int = Field(default=256 << 20, ge=0, description="Payloads in all.")


class VisitorCookieSettings(_Part):
    """The first-party cookie that the server sets after a grant (edge/visitor_cookie.py)."""

    enabled: bool = True
    name: str = Field(default="ebb_id", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    days: int = Field(default=395, ge=1, le=400, description="Browsers keep no cookie for longer than 400 days.")
    needs: tuple[str, ...] = Field(default=("analytics",), min_length=1, description="Purposes that all must be granted for it.")


class DeliverySettings(_Part):
    """How deliveries are made."""

    enabled: bool = True
    deadline_s: float = Field(default=30, gt=0, le=300, description="Absolute time of one request.")


class SiteSettings(_Part):
    """One website: its exact origins and the keys of its own servers."""

    origins: tuple[Annotated[str, BeforeValidator(_origin)], ...] = ()
    server_keys: tuple[SecretStr, ...] = Field(default=(), description="Bearer keys, or sha256:<hex> of them.")

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
    log_format: Literal["json", "console"] = "json"

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
    if path is not None or file.exists():
        try:
            data = tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{file}: no such file", hint="make one with `ebbgate init`, or name it with --config") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: not TOML: {_toml_place(error)}") from None
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    _check_environment()
    _secrets_from_files(data)
    for key, value in (overrides or {}).items():
        _put(data, key.split("."), value)
    try:
        settings = Settings(**data)
    except ValidationError as error:
        raise ConfigError("\n".join(_problem(file, e) for e in error.errors(include_input=False, include_url=False))) from None
    return _relative_to(settings, file.parent)


def secret_digest(value: str) -> str:
    """SHA-256 hex of a bearer secret; `sha256:<hex>` in the settings stands for itself."""
    scheme, _, rest = value.partition(":")
    return rest.lower() if scheme == "sha256" and rest else hashlib.sha256(value.encode()).hexdigest()


def _toml_place(error: Exception) -> str:
    # A UnicodeDecodeError's text quotes bytes of the file, which may be a secret.
    return str(error) if isinstance(error, tomllib.TOMLDecodeError) else "not UTF-8"


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
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f"{name}: the file it names cannot be read as text") from None
        _put(data, twin.removeprefix(PREFIX).lower().split("__"), text.removesuffix("\n"))


def _problem(file: Path, error: Mapping[str, Any]) -> str:
    loc = [str(p) for p in error["loc"]]
    path = ".".join(loc)
    if error["type"] == "extra_forbidden":
        known = _keys_at(loc[:-1])
        close = difflib.get_close_matches(loc[-1], known, n=1)
        hint = f": did you mean '{close[0]}'?" if close else f" (known: {', '.join(known)})" if known else ""
        return f"{file}: unknown setting '{path}'{hint}"
    return f"{file}: {path}: {error['msg']}"


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
