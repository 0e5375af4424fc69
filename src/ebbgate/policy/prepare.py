"""`before_anything_leaves`: what is done to an event once, under one policy, before any destination is looked at.

Addresses are rebuilt from the listed parameters, the IP address is shortened, products keep known keys only, and free text
is searched for personal data. `decide` and `clean` both stand on the result.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

import msgspec

from ebbgate.fields import FIELDS, ITEM_KEYS, DataClass, Kind
from ebbgate.model import Event, Scalar, Value
from ebbgate.policy import treat
from ebbgate.policy.detect import kinds_in, masked, suspect
from ebbgate.policy.plan import EventShape, Everywhere, Policy, Treat

_IP: Final[dict[str, Callable[[Value], str | None]]] = {
    "keep": treat.whole_ip,
    "to_network": treat.to_network,
    "remove": treat.no_ip,
}


class Prepared(msgspec.Struct, frozen=True, gc=False):
    """An event's fields after the policy-wide treatments. May hold personal data: never shown."""

    fields: Mapping[str, Value]
    shape: EventShape
    paths: tuple[str, ...]  #: the event's own, before any was dropped; one object for all events alike
    dropped: tuple[str, ...] = ()  #: paths whose value could not be made safe
    drop_event: str = ""  #: kind of personal data because of which nothing may leave
    reported: tuple[str, ...] = ()  #: "page.title: email", also where it was only reported
    #: Hashes made for one destination, for the next one that normalises alike.
    digests: dict[tuple[str, treat.Normaliser], str | None] = msgspec.field(default_factory=dict)

    __repr__ = object.__repr__  # shows no value


#: The last event under its policy. One event is judged for all its destinations in a row, so one place is enough.
_last: tuple[Event, Policy, Prepared] | None = None


def prepare(event: Event, policy: Policy) -> Prepared:
    """The event's fields after `before_anything_leaves` of `policy`; the same answer for the same two objects."""
    global _last  # a memo of a pure function: one tuple swapped whole, so threads cannot see a half
    memo = _last
    if memo is not None and memo[0] is event and memo[1] is policy:
        return memo[2]
    prepared = prepare_fields(event.fields, policy.everywhere)
    _last = (event, policy, prepared)
    return prepared


def prepare_fields(fields: Mapping[str, Value], everywhere: Everywhere) -> Prepared:
    """The treatments themselves; applying them twice changes nothing more."""
    current = dict(fields)
    shape = shape_of(tuple(current), everywhere)
    dropped: list[str] = []
    for path, function in shape.treated:
        smaller = function(current[path])
        if smaller is None:
            del current[path]
            dropped.append(path)
        else:
            current[path] = smaller
    drop_event = ""
    reported: tuple[str, ...] = ()
    if shape.telling_names or _any_suspect(current, shape):
        drop_event, reported = _free_text(current, shape, dropped, everywhere.actions)
    if dropped:
        return Prepared(current, shape_of(tuple(current), everywhere), shape.paths, tuple(dropped), drop_event, reported)
    return Prepared(current, shape, shape.paths, (), drop_event, reported)


def shape_of(paths: tuple[str, ...], everywhere: Everywhere) -> EventShape:
    """The shape of an event with these paths, worked out once for each set of paths."""
    found = everywhere.shapes.get(paths)
    if found is None:
        treated = _treatments(everywhere)
        scanned = tuple(p for p in paths if p in _SCANNED or p.startswith(_PROPERTIES))
        words = tuple(p for p in scanned if p not in _PRODUCTS)
        found = EventShape(
            paths=paths,
            treated=tuple((p, treated[p]) for p in paths if p in treated),
            scanned=scanned,
            words=words,
            pull_words=_puller(words),
            products=tuple(p for p in scanned if p in _PRODUCTS),
            telling_names=tuple(
                (p, kind) for p in paths if p.startswith(_PROPERTIES) for kind in sorted(kinds_in(p[len(_PROPERTIES) :]))
            ),
        )
        everywhere.shapes.keep(paths, found, len(paths))
    return found


def _treatments(everywhere: Everywhere) -> dict[str, Treat]:
    """The fields that `before_anything_leaves` always touches."""
    step_ms, kept = everywhere.time_step_ms, everywhere.url_parameters
    treatments: dict[str, Treat] = {
        "page.url": treat.url_rebuilder(kept),
        "page.referrer": treat.url_rebuilder(kept),
        "page.path": treat.plain_path,
        "network.ip": _IP[everywhere.ip],
        "order.items": treat.known_items,
    }
    if step_ms:
        treatments["event.time"] = lambda value: treat.floor_time(value, step_ms)
    return treatments


#: Groups in which words are free: a person may have typed them. Ids are not words: an order number may look like a phone.
_FREE_GROUPS: Final = ("page", "campaign", "search", "order", "lead")
_CODES: Final = ("order.id", "order.currency", "order.list_id", "lead.id", "campaign.id")
_SCANNED: Final = frozenset(
    path
    for path, known in FIELDS.items()
    if known.data_class is DataClass.FREE_TEXT
    or known.kind is Kind.ITEMS
    or (known.group in _FREE_GROUPS and known.kind is Kind.TEXT and path not in _CODES)
)
_PRODUCTS: Final = frozenset(path for path, known in FIELDS.items() if known.kind is Kind.ITEMS)
#: Keys of products in which words are free.
_ITEM_WORDS: Final = frozenset(ITEM_KEYS) - {"id", "sku", "price", "quantity", "index", "discount", "list_id"}
_PROPERTIES: Final = "properties."
#: What is told instead of a property's name that is personal data itself.
GROUP_OF_NAMES: Final = "properties"


#: Short texts in which nothing was found to suspect, small numbers, and None for what is not there. Only such are kept, so nothing
#: that looks personal stays in memory here.
_harmless: Final[set[object]] = {None}
_MAX_HARMLESS: Final = 16_384
_SHORT: Final = 256
_SMALL: Final = 10_000  #: numbers below have too few digits for anything, however they are written


def _any_suspect(fields: Mapping[str, Value], shape: EventShape) -> bool:
    """One cheap look at all free text together; what was found harmless before is not looked at again."""
    try:
        values: list[object] = [*shape.pull_words(fields)]
    except KeyError:  # one was dropped
        values = [*map(fields.get, shape.words)]
    for path in shape.products:
        items = fields.get(path)
        if isinstance(items, tuple):
            for item in items:
                values += _words_of(tuple(item))(item) if type(item) is dict else _texts((item,))
        else:
            values.append(items)
    try:
        if _harmless.issuperset(values):
            return False
    except TypeError:  # objects where no product is
        return True
    new = [value for value in values if value not in _harmless]
    texts = [text for value in new for text in _texts(value)]
    if suspect("\n".join(texts)):
        return True
    if len(_harmless) > _MAX_HARMLESS:
        _harmless.clear()
        _harmless.add(None)
    _harmless.update([v for v in new if (len(v) <= _SHORT if type(v) is str else type(v) is int and -_SMALL < v < _SMALL)])
    return False


def _texts(value: object) -> list[str]:
    """Every text of a value that a person may have typed; numbers too, since a number may be a phone."""
    if not isinstance(value, tuple):
        return [str(value)]
    texts: list[str] = []
    for item in value:
        if isinstance(item, _MAPPING):
            texts += [v for v in _words_of(tuple(item))(item) if isinstance(v, str)]
        else:
            texts.append(str(item))
    return texts


@lru_cache(maxsize=1024)
def _words_of(keys: tuple[str, ...]) -> Callable[[Mapping[str, Scalar]], Sequence[Scalar]]:
    """Pulls the values in which words are free out of products with these keys: a site's products have few sets of them."""
    return _puller(tuple([key for key in keys if key in _ITEM_WORDS]))


def _puller(keys: tuple[str, ...]) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    """The values of these keys, as one call into C where there are enough of them."""
    return itemgetter(*keys) if len(keys) > 1 else lambda held: [held[key] for key in keys]


#: Nearly every product is a dict, which is checked several times faster than the abstract class.
_MAPPING: Final = (dict, Mapping)


def _free_text(
    fields: dict[str, Value], shape: EventShape, dropped: list[str], actions: Mapping[str, str]
) -> tuple[str, tuple[str, ...]]:
    """Searches the free text and acts on what it finds: changes `fields` and `dropped`."""
    reported: list[str] = []
    kinds: set[str] = set()
    for path, kind in shape.telling_names:
        reported.append(f"a property name: {kind}")
        kinds.add(kind)
        if actions.get(kind, "report") != "report" and path in fields:
            del fields[path]
            dropped.append(GROUP_OF_NAMES)
    for path in shape.scanned:
        value = fields.get(path)
        found = frozenset(k for text in _texts(value) for k in kinds_in(text)) if value is not None else frozenset[str]()
        if value is None or not found:
            continue
        reported.extend(f"{_shown(path)}: {kind}" for kind in sorted(found))
        kinds |= found
        smaller = _without(value, _with_action(found, "remove", actions), _with_action(found, "mask", actions))
        if smaller is None:
            del fields[path]
            dropped.append(path)
        else:
            fields[path] = smaller
    return min(_with_action(kinds, "drop_event", actions), default=""), tuple(reported)


def _with_action(kinds: Collection[str], action: str, actions: Mapping[str, str]) -> frozenset[str]:
    return frozenset(kind for kind in kinds if actions.get(kind) == action)


def _shown(path: str) -> str:
    """Names that a site or a stranger made up may hold anything: only known ones are shown."""
    return path if path in FIELDS else GROUP_OF_NAMES


def _without(value: Value, remove: frozenset[str], mask: frozenset[str]) -> Value | None:
    """The value without the kinds to remove and with the kinds to mask covered; products lose only the key concerned."""
    if not remove and not mask:
        return value
    if not isinstance(value, tuple):
        return _text_without(value, remove, mask)
    items: list[Mapping[str, Scalar]] = []
    scalars: list[Scalar] = []
    for item in value:
        if isinstance(item, Mapping):
            items.append({k: kept for k, v in item.items() if (kept := _item_without(k, v, remove, mask)) is not None})
        elif (kept := _text_without(item, remove, mask)) is not None:
            scalars.append(kept)
    return tuple(items) if items else tuple(scalars)


def _item_without(key: str, value: Scalar, remove: frozenset[str], mask: frozenset[str]) -> Scalar | None:
    return _text_without(value, remove, mask) if key in _ITEM_WORDS else value


def _text_without(value: Scalar, remove: frozenset[str], mask: frozenset[str]) -> Scalar | None:
    text = str(value)
    found = kinds_in(text)
    if found & remove:
        return None
    return masked(text, found & mask) if found & mask else value
