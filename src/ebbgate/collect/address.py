"""What a page's address carries: click ids of ad platforms and UTM parameters (specs/destinations.md §1.2). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl

from ebbgate.collect.cookies import click_fields

MAX_URL: Final = 4096
_UTM: Final = {
    "utm_source": "campaign.source",
    "utm_medium": "campaign.medium",
    "utm_campaign": "campaign.name",
    "utm_term": "campaign.term",
    "utm_content": "campaign.content",
    "utm_id": "campaign.id",
}


@lru_cache(maxsize=2048)
def address_fields(url: str) -> Mapping[str, str]:
    """Click ids keep their case; the first of a repeated parameter counts. Empty for an address over 4 KiB."""
    if len(url) > MAX_URL:
        return MappingProxyType({})
    found = dict(click_fields(url))
    query = url.partition("?")[2].partition("#")[0]
    try:
        pairs = parse_qsl(query, max_num_fields=100)
    except ValueError:
        pairs = []
    for name, value in pairs:
        path = _UTM.get(name.lower())
        if path:
            found.setdefault(path, value[:200])
    return MappingProxyType(found)
