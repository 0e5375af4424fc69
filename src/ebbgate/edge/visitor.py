"""Where a request really comes from: the peer, or what configured proxies vouch for. Forged headers change nothing."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

from ebbgate.consent.place import place_from_headers
from ebbgate.edge.head import Head
from ebbgate.model import Place

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class Visitors:
    """Client address and place of requests, for one set of trusted proxy networks."""

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._networks = tuple(trusted)
        self.trusts = lru_cache(maxsize=4096)(self._trusts)

    def _trusts(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self._networks)

    def locate(self, peer: str, head: Head) -> tuple[str, Place]:
        """(address, place). Without a trusted peer: its own address, place unknown.

        X-Forwarded-For is read from the right: the last address that no trusted proxy has (specs/reliability.md §4.8).
        """
        if not self._networks or not self.trusts(peer):
            return peer, _NOWHERE
        address = peer
        if not head.forwarded_for:
            return address, _place(head.place_headers)
        for hop in reversed([h.strip() for line in head.forwarded_for for h in line.split(",")]):
            plain = _plain(hop)
            if plain is None:
                break  # whoever wrote that is no proxy of ours: nothing to its left counts
            address = plain
            if not self.trusts(plain):
                break
        return address, _place(head.place_headers)


@lru_cache(maxsize=4096)
def _place(headers: tuple[tuple[str, str], ...]) -> Place:
    """Visitors come from few places: the readings of a proxy's headers seen last are remembered."""
    return place_from_headers(headers, trusted=True)


_NOWHERE = Place()


def _plain(hop: str) -> str | None:
    """`203.0.113.7`, `203.0.113.7:4711`, `[2001:db8::1]:443` → the address alone; None when it is none."""
    text = hop.removeprefix("[").partition("]")[0] if hop.startswith("[") else hop
    if text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
