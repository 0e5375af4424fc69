from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from ebbgate.consent import additional_consent, cmp_cookies, google, gpp, tcf, us_privacy
from ebbgate.errors import SignalError
from tests.scale import SCALE
from tests.unit.consent.build import ACCEPT_ALL, ALPHABET, REJECT_ALL, Tc, entries, number, section, text, usca, usnat
from tests.unit.consent.build import gpp as encode_gpp

#: Seconds a decoder: a moment by default; in a long run 90, over ten minutes for the seven of them.
SECONDS = float(os.environ.get("EBBGATE_FUZZ_SECONDS", "90" if SCALE > 1 else "0.4"))
#: No input may cost more than this much processor time.
LIMIT_S = 0.050

COOKIES = (
    "OptanonConsent=isGpcEnabled=0&interactionCount=1&groups=C0001%3A1%2CC0002%3A0; OptanonAlertBoxClosed=x",
    "CookieConsent={stamp:%27x%27%2Cnecessary:true%2Cmarketing:false%2Cmethod:%27explicit%27%2Cutc:17}",
    "cookieyes-consent=consentid:x,consent:yes,action:yes,necessary:yes,analytics:no",
    "cmplz_functional=allow; cmplz_marketing=deny; cmplz_banner-status=dismissed; wp_consent_marketing=allow",
    "didomi_token=eyJ2ZXJzaW9uIjoyLCJwdXJwb3NlcyI6eyJlbmFibGVkIjpbImEiXX19; euconsent-v2=" + ACCEPT_ALL,
    "klaro=%7B%22a%22%3Atrue%7D; cc_cookie=%7B%22categories%22%3A%5B%22a%22%5D%7D; CONSENTMGR=c1:1%7Cconsent:true",
)


DECODERS: dict[str, tuple[Callable[[str], Any], tuple[str, ...], str]] = {
    "tcf": (
        tcf.decode,
        (ACCEPT_ALL, REJECT_ALL, Tc(ranged=True, vendors=(1, 4202), restrictions=[(2, 1, [(1, 9)])], publisher=(1,)).encode()),
        ALPHABET + ".=",
    ),
    "gpp": (
        gpp.decode,
        (encode_gpp([(2, ACCEPT_ALL), (6, "1YNN"), (7, usnat()), (8, usca(gpc=True))]), encode_gpp([(99, "AAAA")])),
        ALPHABET + ".~",
    ),
    "ac": (additional_consent.decode, ("2~1.2~dv.3", "1~4.5"), "0123456789.~dv"),
    "usp": (us_privacy.decode, ("1YNN", "1---"), "1YN-yn2"),
    "gcs": (google.decode_gcs, ("G111", "G1--"), "G10-2"),
    "gcd": (google.decode_gcd, ("13r3r3r2r5l1", "11lxR1l1l5"), ALPHABET),
    "cmp_cookies": (
        lambda value: cmp_cookies.read_all(cmp_cookies.jar(value)),
        COOKIES,
        "abz019%{}[]:;,=\"'&|-+ C2",
    ),
}  # fmt: skip


DESCRIBE: dict[str, Callable[[Any], object]] = {
    "tcf": tcf.describe,
    "gpp": gpp.describe,
    "gcd": google.describe_gcd,
    "cmp_cookies": lambda readings: [cmp_cookies.describe(one) for one in readings],
}


def mutate(source: random.Random, corpus: tuple[str, ...], alphabet: str) -> str:
    """A valid input with a few characters replaced, inserted, removed, repeated or taken from another."""
    value = source.choice(corpus)
    for _ in range(source.randint(1, 4)):
        at = source.randint(0, len(value))
        match source.randint(0, 5):
            case 0:
                value = value[:at]
            case 1:
                value = value[:at] + source.choice(alphabet) + value[at + 1 :]
            case 2:
                value = value[:at] + source.choice(alphabet) * source.randint(1, 40) + value[at:]
            case 3:
                value = value[:at] + value[at + source.randint(1, 8) :]
            case 4:
                value = value[:at] + source.choice(corpus)[source.randint(0, at) :]
            case _:
                value = value[:at] + chr(source.choice([0, 10, 32, 0xA0, 0x661, 0xD800, 0x1F600])) + value[at:]
    return value


def cost(decode: Callable[[str], Any], value: str) -> float:
    """Processor seconds of one call; anything raised but SignalError gets through."""
    started = time.thread_time()
    try:
        decode(value)
    except SignalError as refused:
        assert value not in refused.message or len(value) < 4  # noqa: PT017  the reason must not hold the input
    return time.thread_time() - started


@pytest.mark.parametrize("name", DECODERS)
def test_mutated_input_only_raises_the_decoders_error(name: str) -> None:
    """No input makes a decoder raise anything but SignalError, or take more than 50 ms."""
    decode, corpus, alphabet = DECODERS[name]
    seed = random.SystemRandom().randrange(2**32)
    source = random.Random(seed)
    until = time.monotonic() + SECONDS
    tried = 0
    while time.monotonic() < until:
        value = mutate(source, corpus, alphabet)
        slow = cost(decode, value)
        with contextlib.suppress(SignalError):
            DESCRIBE.get(name, repr)(decode(value))
        # A second look: the first may have been held up by the machine.
        assert slow < LIMIT_S or cost(decode, value + "") < LIMIT_S, f"seed {seed}, input {tried}"
        tried += 1
    assert tried > 50


LONG = 32 * 1024
WORST: dict[str, tuple[str, str]] = {
    "tcf most range entries": ("tcf", text(Tc().core_bits()[:213] + number(65535, 16) + "1" + entries([(1, 65535)] * 4095))),
    "tcf most restrictions": ("tcf", text(Tc(restrictions=[(1, 0, [(1, 65535)])] * 3600).core_bits())),
    "tcf largest bit field": ("tcf", text(Tc().core_bits()[:213] + section(range(1, 65536, 2)) * 2 + "0" * 12)),
    "tcf longest padding": ("tcf", text(Tc().core_bits()) + "A" * (LONG - 200)),
    "tcf most segments": ("tcf", ("IAAA." * LONG)[:LONG]),
    "gpp most sections": ("gpp", text(number(3, 6) + number(1, 6) + number(4095, 12) + "011" * 4095, multiple=6) + "~A" * 4095),
    "gpp one huge group": ("gpp", text(number(3, 6) + number(1, 6) + number(1, 12) + "111" + "0" * 22 + "11", multiple=6) + "~A"),
    "gpp longest header": ("gpp", text(number(3, 6) + number(1, 6) + number(4095, 12) + "01" * 90_000, multiple=6)),
    "ac most ids": ("ac", "2~" + ".".join(map(str, range(3500))) + "~dv." + ".".join(map(str, range(3500, 6000)))),
    "ac backtracking": ("ac", "2~" + "1." * 16_000),
    "cookies deep": ("cmp_cookies", "klaro=" + "[" * 8000),
    "cookies wide": ("cmp_cookies", "klaro={" + ",".join(f'"{n}":true' for n in range(700)) + "}"),
    "cookiebot pairs": ("cmp_cookies", "CookieConsent={" + ",".join(f"a{n}:1" for n in range(1000)) + "}"),
    "cookiebot blanks": ("cmp_cookies", "CookieConsent={a" + " " * 8000 + "}"),
    "cookies many": ("cmp_cookies", "; ".join(f"cookielawinfo-checkbox-{n}=yes" for n in range(5000))),
}  # fmt: skip


@pytest.mark.parametrize("case", WORST)
def test_the_worst_inputs_are_bounded(case: str) -> None:
    """Inputs made to be expensive, at the size limits, stay under 50 ms of processor time."""
    name, value = WORST[case]
    decode = {"tcf": tcf._decode, "gpp": gpp._decode}.get(name, DECODERS[name][0])
    assert min(cost(decode, value) for _ in range(3)) < LIMIT_S
