"""The only place that makes a `CleanEvent`: what may leave to one destination, in the form in which it may leave.

`clean` projects an event at receipt, `recheck` asks again just before sending (the result is *receipt ∩ now*: a looser
policy never adds a field, a tighter one takes it away), `dump` and `load` carry a CleanEvent through the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, TypeAlias

from ebbgate.errors import PolicyError
from ebbgate.model import EMPTY, CleanEvent, Consent, ConsentState, Decision, Event, Scalar, Value, Verdict
from ebbgate.policy import treat
from ebbgate.policy.decide import projection_of
from ebbgate.policy.plan import Policy, PolicySet, Projection, Shape
from ebbgate.policy.prepare import Prepared, prepare, prepare_fields
from ebbgate.policy.stored import as_value, pack_one, storable, unpack
from ebbgate.policy.treat import Normaliser

#: Text → keyed pseudonym; the key and its rotation are the caller's.
Pseudonym: TypeAlias = Callable[[str], str]

_GRANTED: Final = ConsentState.GRANTED


def clean(event: Event, decision: Decision, policy: Policy, consent: Consent, *, pseudonym: Pseudonym) -> CleanEvent:
    """What leaves to `decision.destination`: for a held decision the full form, to be parked until the visitor decides.

    Raises PolicyError when the decision lets nothing out or was made under another policy.
    """
    plan = policy.destinations.get(decision.destination)
    projection = projection_of(plan, decision.verdict) if plan is not None else None
    if plan is None or projection is None or decision.policy != policy.digest:
        raise PolicyError("this decision lets nothing out under this policy", code="not_permitted")
    prepared = prepare(event, policy)
    if prepared.drop_event:
        raise PolicyError("this event holds what the policy keeps here", code="not_permitted")
    shape = projection.shape(prepared.shape)
    fields = _project(prepared, event.fields, projection, shape, pseudonym)
    step = max(projection.time_step_ms, policy.everywhere.time_step_ms)
    # How long it may be parked is the store's business: once released, a held event has the same time as any other.
    lifetime_s = plan.expire_after_s
    states, google = consent_states(consent)
    # An id that the policy does not let out must not leave as the envelope's id either: it may be an order number.
    own_id = fields.get("event.id")
    return CleanEvent(
        destination=plan.destination,
        id=own_id if isinstance(own_id, str) else pseudonym_of_id(event, pseudonym),
        name=event.name,
        time_ms=event.time_ms // step * step if step else event.time_ms,
        site=event.site,
        fields=fields,
        hashed=shape.hashed_paths,
        flags=projection.flags,
        consent=states,
        google=google,
        expires_ms=event.received_ms + lifetime_s * 1000 if lifetime_s else 0,
        needs=plan.needs,
        limited=decision.verdict is Verdict.LIMITED,
        policy=policy.digest,
        policy_file=policy.file,
    )


def pseudonym_of_id(event: Event, pseudonym: Pseudonym) -> str:
    """What stands for the id of an event whose own id does not leave."""
    return pseudonym(f"event.id\x00{event.id}")


#: The states of the last consent: one visitor's consent is used for all destinations in a row.
_last_states: tuple[Consent, Mapping[str, str], Mapping[str, str]] | None = None


def consent_states(consent: Consent) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Purpose → state and Google signal → granted or denied, as the store and the platforms take them."""
    global _last_states  # a memo of a pure function: one tuple swapped whole
    memo = _last_states
    if memo is not None and memo[0] is consent:
        return memo[1], memo[2]
    states = MappingProxyType({name: found.state.value for name, found in consent.purposes.items()})
    google = MappingProxyType({name: "granted" if state is _GRANTED else "denied" for name, state in consent.google.items()})
    _last_states = (consent, states, google)
    return states, google


def _project(
    prepared: Prepared, raw: Mapping[str, Value], projection: Projection, shape: Shape, pseudonym: Pseudonym
) -> dict[str, Value]:
    """The fields that leave; a value that cannot be treated as told is left out."""
    values, digests = prepared.fields, prepared.digests
    fields = {path: values[path] for path in shape.plain}
    for key in shape.hashed:
        if key not in digests:
            path, normalise = key
            digests[key] = treat.hashed(values[path], country_of(raw), normalise)
        _put(fields, key[0], digests[key])
    for path in shape.pseudonymised:
        _put(fields, path, treat.pseudonymised(values[path], path, pseudonym))
    _shorten(fields, projection, shape)
    return fields


def _shorten(fields: dict[str, Value], projection: Projection, shape: Shape) -> None:
    """The destination's own limits: text length, addresses, time. Doing it twice changes nothing more."""
    for path, length in shape.limited:
        _put(fields, path, shorter(fields[path], length))
    for path in shape.urls:
        _put(fields, path, shorter(fields[path], allowed=projection.url_parameters or frozenset()))
    if projection.time_step_ms and "event.time" in fields:
        _put(fields, "event.time", shorter(fields["event.time"], step_ms=projection.time_step_ms))


def shorter(value: Value, length: int | None = None, allowed: frozenset[str] | None = None, step_ms: int = 0) -> Value | None:
    """A value within a destination's own limits, or None when it cannot be brought there; None and 0 are no limit."""
    if length is not None:
        value = treat.cut_text(value, length)
    if allowed is not None:
        rebuilt = treat.rebuild_url(value, allowed)
        if rebuilt is None:
            return None
        value = rebuilt
    return treat.floor_time(value, step_ms) if step_ms else value


def _put(fields: dict[str, Value], path: str, value: Value | None) -> None:
    """Sets a field, or leaves it out when its value cannot be treated as told."""
    if value is None:
        fields.pop(path, None)
    else:
        fields[path] = value


def country_of(fields: Mapping[str, Value]) -> str | None:
    """The country by which a phone number is read: code of the person's, else of the visit's, else the person's as a name.

    The destinations' normalisers know names too ("Germany"); a name that they do not know decides nothing.
    """
    stated = fields.get("user.country")
    for value in (stated, fields.get("place.country")):
        if type(value) is str and len(value) == 2 and value.isalpha():
            return value.upper()
    return stated if isinstance(stated, str) and stated.strip() else None


def clean_everything(
    event: Event,
    *,
    destination: str,
    hashes: Mapping[str, Normaliser],
    demands_hash: frozenset[str],
    google: Mapping[str, str] = EMPTY,
    flags: Mapping[str, Scalar] = EMPTY,
) -> CleanEvent:
    """For `destination render`: everything the event carries counts as allowed, and only the destination's own demands apply.

    Never part of the flow: no policy and no consent is asked.
    """
    fields = dict(event.fields)
    country = country_of(event.fields)
    hashed = frozenset(path for path in demands_hash if path in fields)
    for path in hashed:
        normalise = hashes.get(path)
        _put(fields, path, treat.hashed(fields[path], country, normalise) if normalise else None)
    return CleanEvent(
        destination=destination,
        id=event.id,
        name=event.name,
        time_ms=event.time_ms,
        site=event.site,
        fields=fields,
        hashed=hashed,
        flags=flags,
        google=google,
    )


def with_consent(clean: CleanEvent, states: Mapping[str, str], google: Mapping[str, str] = EMPTY) -> CleanEvent:
    """The same event with the consent states that hold now, for `recheck`; what is not in `states` or `google` keeps its state."""
    return replace(clean, consent={**clean.consent, **states}, google={**clean.google, **google})


def recheck(clean: CleanEvent, policies: PolicySet) -> CleanEvent | None:
    """What may still be sent under the policies in force now, or None when nothing may (specs/reliability.md §2.2).

    The states in `clean.consent` are taken as the visitor's consent now. The policy that decided must still be there under
    its file name, name the destination, have it switched on and list the event. Fields are those of receipt that the
    policy lets out now; what it now wants hashed or pseudonymised and was stored in clear goes.
    """
    policy = policies.by_file.get(clean.policy_file)
    plan = policy.destinations.get(clean.destination) if policy else None
    if policy is None or plan is None or not plan.enabled:
        return None
    if plan.events is not None and clean.name not in plan.events:
        return None
    projection = plan.limited if clean.limited else plan.full
    if projection is None:
        return None
    if not clean.limited and not all(clean.consent.get(p) == _GRANTED.value for p in {*clean.needs, *plan.needs}):
        return None
    if clean.policy == policy.digest:
        return clean
    return _receipt_and_now(clean, policy, projection)


def _receipt_and_now(clean: CleanEvent, policy: Policy, projection: Projection) -> CleanEvent | None:
    prepared = prepare_fields(clean.fields, policy.everywhere)
    if prepared.drop_event:
        return None
    if "event.id" in clean.fields and not projection.lets_out("event.id"):
        return None
    shape = projection.shape(prepared.shape)
    # What is hashed now but was stored in clear goes; a pseudonym cannot be told from a clear value, so it goes too.
    unsafe = (shape.hashed_paths - clean.hashed) | set(shape.pseudonymised)
    fields = {path: prepared.fields[path] for path in shape.fields if path not in unsafe}
    _shorten(fields, projection, _of_what_is_left(shape, fields))
    step = max(projection.time_step_ms, policy.everywhere.time_step_ms)
    return replace(
        clean,
        fields=fields,
        hashed=clean.hashed & fields.keys(),
        flags={**clean.flags, **projection.flags},
        time_ms=clean.time_ms // step * step if step else clean.time_ms,
    )


def _of_what_is_left(shape: Shape, fields: Mapping[str, Value]) -> Shape:
    return replace(
        shape,
        limited=tuple((path, length) for path, length in shape.limited if path in fields),
        urls=tuple(path for path in shape.urls if path in fields),
    )


def dump(clean: CleanEvent) -> bytes:
    """The event as bytes for the store (MessagePack); the store encrypts them."""
    try:
        return pack_one(_row(clean, clean.fields))
    except (OverflowError, UnicodeEncodeError):
        return pack_one(_row(clean, {path: storable(value) for path, value in clean.fields.items()}))


def _row(clean: CleanEvent, fields: Mapping[str, object]) -> tuple[object, ...]:
    return (
        clean.destination,
        clean.id,
        clean.name,
        clean.time_ms,
        clean.site,
        dict(fields),
        sorted(clean.hashed),
        dict(clean.flags),
        dict(clean.consent),
        dict(clean.google),
        clean.expires_ms,
        clean.needs,
        clean.limited,
        clean.policy,
        clean.policy_file,
    )


def load(data: bytes) -> CleanEvent:
    """The event that `dump` or `together.clean_all` wrote. Raises StoreError when the bytes are not one."""
    row = unpack(data)
    return CleanEvent(
        destination=row.destination,
        id=row.id,
        name=row.name,
        time_ms=row.time_ms,
        site=row.site,
        fields={path: as_value(value) for path, value in row.fields.items()},
        hashed=frozenset(row.hashed),
        flags=row.flags,
        consent=row.consent,
        google=row.google,
        expires_ms=row.expires_ms,
        needs=tuple(row.needs),
        limited=row.limited,
        policy=row.policy,
        policy_file=row.policy_file,
    )
