"""Which site a request belongs to and who vouches for it: exact Origin for browsers, a bearer key for the site's servers."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from ebbgate.edge.head import Head
from ebbgate.edge.problems import Headers
from ebbgate.errors import ConfigError, RequestError
from ebbgate.model import Trust
from ebbgate.settings import SiteSettings, secret_digest

_BROWSER: Final = Trust.BROWSER  # looked up once: in Python 3.11 an enumeration's member costs as much as a call
_SERVER: Final = Trust.SERVER


class Sites:
    """All configured sites, looked up by origin or by the digest of a key. Raises ConfigError where two sites claim one."""

    def __init__(self, sites: Mapping[str, SiteSettings]) -> None:
        self._by_origin: dict[str, str] = {}
        self._cors: dict[str, Headers] = {}
        self._keys: list[tuple[bytes, str]] = []
        self._write_keys: dict[str, str] = {}
        for name, site in sites.items():
            for origin in site.origins:
                if self._by_origin.setdefault(origin, name) != name:
                    raise ConfigError(f"sites.{name}.origins: {origin} belongs to '{self._by_origin[origin]}' already")
                # Headers hold Latin-1: an origin beyond it is never met.
                allowed = (b"access-control-allow-origin", origin.encode("latin-1", "replace"))
                self._cors[origin] = [allowed, (b"access-control-allow-credentials", b"true")]
            for key in site.server_keys:
                digest = bytes.fromhex(secret_digest(key.get_secret_value()))
                if any(hmac.compare_digest(digest, other) for other, owner in self._keys if owner != name):
                    raise ConfigError(f"sites.{name}.server_keys: a key is used by two sites")
                self._keys.append((digest, name))
            for write_key in site.write_keys:
                if self._write_keys.setdefault(write_key, name) != name:
                    raise ConfigError(f"sites.{name}.write_keys: a key is used by two sites")
        if any(self.of_server_key(key) for key in self._write_keys):
            raise ConfigError("sites: a write key is also a server key", hint="write keys are public: anyone could be the server")

    def of_origin(self, origin: str | None) -> str | None:
        """Site of an exact Origin header; None for a stranger, `null` included."""
        return self._by_origin.get(origin) if origin else None

    def cors(self, origin: str | None) -> Headers:
        """Headers that let a page of a configured site read the answer; nothing for a stranger: no reflection, no `*`.

        The same list each time: not to be changed.
        """
        return self._cors.get(origin, []) if origin else []

    def of_server_key(self, key: str) -> str | None:
        """Site of a server key; None for any other."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        # Every key is compared, so that the time tells nothing about which one came near.
        found = [name for known, name in self._keys if hmac.compare_digest(known, digest)]
        return found[0] if found else None

    def of_write_key(self, key: str) -> str | None:
        """Site of a public write key; None for any other."""
        return self._write_keys.get(key)

    def has_write_keys(self, site: str) -> bool:
        """True when the site lists write keys: then its browsers must send one of them."""
        return site in self._write_keys.values()

    def only(self) -> str | None:
        """The site, where there is just one."""
        names = {*self._by_origin.values(), *(name for _, name in self._keys), *self._write_keys.values()}
        return names.pop() if len(names) == 1 else None

    def identify(self, head: Head) -> tuple[str, Trust]:
        """(site, trust). Raises RequestError 401 for a bad key, 403 for a stranger's page, 401 for neither."""
        if head.authorization is not None:
            return self._of_key(head.authorization), _SERVER
        site = self.of_origin(head.origin)
        if site is not None:
            return site, _BROWSER
        if head.origin is not None:
            raise RequestError(
                "this origin is not one of a configured site",
                status=403,
                code="unknown_origin",
                hint="add it to sites.<name>.origins, exactly as the browser sends it",
            )
        raise RequestError(
            "neither an Origin nor a server key",
            status=401,
            code="no_credentials",
            hint="servers send `Authorization: Bearer <site key>`; browsers send Origin by themselves",
        )

    def _of_key(self, authorization: str) -> str:
        scheme, _, key = authorization.partition(" ")
        site = self.of_server_key(key.strip())
        if scheme.lower() != "bearer" or site is None:
            raise RequestError("the server key is not known", status=401, code="bad_key", hint="see sites.<name>.server_keys")
        return site
