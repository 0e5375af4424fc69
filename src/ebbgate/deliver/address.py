"""Which addresses a request may go to: the guard against server-side request forgery. Pure (specs/reliability.md §4 rows 12, 13).

A name is resolved once, every address it has must be public, and the connection is made to the address that was vetted. Loopback
is open only to a destination whose `endpoint` setting says loopback, for tests and stand-ins.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlsplit

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64: Final = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_V4_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")
_PORTS: Final = {"http": 80, "https": 443}


class AddressRefused(ValueError):
    """The address must not be contacted. The message is a closed word."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, lower-case host without brackets, port."""

    scheme: str
    host: str
    port: int

    @property
    def names_loopback(self) -> bool:
        """True for `localhost` and for loopback addresses written plainly."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def authority(self) -> str:
        """The Host header of this origin."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def origin_of(url: str) -> Origin:
    """Origin of an absolute http or https URL. Raises AddressRefused for anything else, and for user names in it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("url_invalid") from None
    if (
        parts.scheme not in _PORTS
        or not parts.hostname
        or "@" in parts.netloc
        or not url.isascii()
        or any(c <= " " or c == "\\" for c in url)
    ):
        raise AddressRefused("url_invalid")
    return Origin(parts.scheme, parts.hostname.rstrip("."), _PORTS[parts.scheme] if port is None else port)


def check_origin(origin: Origin, *, endpoint: Origin | None, hosts: Collection[str]) -> bool:
    """Refuse an origin that this destination has no business with; returns whether loopback addresses are open to it.

    The configured address `endpoint` is taken as it is, but in clear only on loopback. Anything else is https on port 443, at
    one of the platform's `hosts` (`*.example` stands for every name below). Without `hosts` there is nothing beside the
    configured address; without that either, any public address will do.
    """
    if endpoint is not None and origin == endpoint:
        if origin.scheme != "https" and not origin.names_loopback:
            raise AddressRefused("not_https")
        return origin.names_loopback
    if origin.scheme != "https":
        raise AddressRefused("not_https")
    if origin.port != 443:
        raise AddressRefused("port_refused")
    if (hosts or endpoint is not None) and not any(_fits(origin.host, host) for host in hosts):
        raise AddressRefused("host_refused")
    return False


def _fits(host: str, pattern: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def vet(addresses: Sequence[str], *, loopback: bool, networks: Sequence[Network] = ()) -> list[str]:
    """The addresses of a name, when all of them may be contacted; the list is never empty.

    `networks` are private networks that the operator opens on purpose. Raises AddressRefused when one address is not public:
    a name with mixed addresses is a trick or a mistake.
    """
    if not addresses:
        raise AddressRefused("no_address")
    for text in addresses:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            raise AddressRefused("address_refused") from None
        if loopback:
            if not address.is_loopback:
                raise AddressRefused("address_refused")
        elif not _public(address) and not any(address.version == n.version and address in n for n in networks):
            raise AddressRefused("address_refused")
    return list(addresses)


def _public(address: Address) -> bool:
    """Globally reachable, through every way in which IPv6 can wrap an IPv4 address."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and (any(address in n for n in _NAT64) or address in _V4_COMPATIBLE):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return False if address in _V4_COMPATIBLE or address.teredo else _public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved
