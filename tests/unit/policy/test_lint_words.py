"""Free words and texts of a policy: what reads well and would do something else is refused, what people need is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebbgate.errors import PolicyError
from ebbgate.policy.load import examine, load_texts, unread_files
from tests.unit.policy.making import CONSENT as RULES
from tests.unit.policy.making import FACTS, HEAD, policy

FREE = "needs: nothing, because: x, send: [event]"


def codes(text: str | bytes) -> list[tuple[str, int, int]]:
    """Errors and warnings of one file but those about places: code, line, column."""
    raw = text if isinstance(text, bytes) else text.encode()
    return [(p.code, p.line, p.column) for p in examine({"a.yaml": raw}, FACTS, whole=False)[1]]


def text_of(destinations: str, *, head: str = HEAD, rules: str = RULES) -> str:
    """A policy file."""
    return f"{head}{rules}destinations:\n{destinations}\n"


GA4 = f"  ga4: {{{FREE}}}"


@pytest.mark.parametrize(("line", "most"), [("policy: Test", 300), ("owner: privacy@shop.example", 300), ("reason: test", 4000)])
def test_texts_have_a_length(line: str, most: int) -> None:
    """The longest text loads, one character more is refused where it stands."""
    key = line.partition(":")[0]
    number = HEAD.splitlines().index(line) + 1

    def found(length: int) -> list[tuple[str, int, int]]:
        return [p for p in codes(text_of(GA4, head=HEAD.replace(line, f"{key}: {'x' * length}"))) if p[0] == "P007"]

    assert found(most) == []
    assert found(most + 1) == [("P007", number, len(key) + 3)]


def test_a_ground_of_several_lines_is_taken() -> None:
    """Lawyers write long grounds: a text over several lines loads, and is one text."""
    loaded = policy(
        "  webhook:\n    needs: nothing\n    send: [event]\n    because: >\n      Security of the service,\n      art. 6(1)(f)"
    )
    assert loaded.destinations["webhook"].because == "Security of the service, art. 6(1)(f)\n"


def test_names_that_senders_use_are_taken() -> None:
    """A purpose of several words, an event's name in a sender's own words, properties with blanks, dollars and names below."""
    rules = RULES.replace("advertising: {}", "ads and more: {}")
    send = "event, properties.my color, properties.$plan, properties.a.b-c"
    loaded = policy(f"  ga4: {{needs: [ads and more], events: [Clicked CTA, purchase], send: [{send}]}}", consent=rules)
    assert loaded.destinations["ga4"].needs == ("ads and more",)
    assert loaded.destinations["ga4"].full.lets_out("properties.my color")


INVISIBLE = [
    "\x00",
    "\x0b",
    "\x1b",
    "\x7f",
    "\x85",
    "\xad",
    "\u200b",
    "\u200f",
    "\u2028",
    "\u202e",
    "\u2066",
    "\ufeff",
    "\r",
    "\U000e0041",
]


@pytest.mark.parametrize("character", INVISIBLE, ids=lambda c: f"{ord(c):x}")
def test_no_invisible_character_gets_in(character: str) -> None:
    """Neither as it stands nor as an escape: the first is named by its place, the second by that of its text."""
    line = HEAD.splitlines().index("reason: test") + 1
    raw = text_of(GA4, head=HEAD.replace("reason: test", f"reason: te{character}st"))
    assert codes(raw) == [("P005", line, 11)]
    escape = f'"te\\U{ord(character):08x}st"'
    assert codes(text_of(GA4, head=HEAD.replace("reason: test", f"reason: {escape}"))) == [("P005", line, 9)]
    with pytest.raises(PolicyError):
        load_texts({"a.yaml": raw.encode()}, FACTS)


def test_letters_of_every_script_stay() -> None:
    """Words of other scripts, and the joiners that some need, are letters like ours."""
    title = "Besucher*innen: می‌خواهم, 訪問者, Посетители"
    assert codes(text_of(GA4, head=HEAD.replace("policy: Test", f'policy: "{title}"')))[0][0] == "P015"


def test_line_ends_of_windows_move_nothing() -> None:
    """A file with CRLF loads, and what is wrong in it has the same place."""
    good, wrong = text_of(GA4), text_of(GA4.replace("send", "sned"))
    assert codes(good.replace("\n", "\r\n")) == codes(good)
    assert codes(wrong.replace("\n", "\r\n")) == codes(wrong)


def test_a_byte_order_mark_is_named_where_it_is() -> None:
    """Some editors begin a file with one: it is refused at the first character."""
    assert codes("\ufeff" + text_of(GA4)) == [("P005", 1, 1)]


def test_long_lists_are_looked_at_once() -> None:
    """Twenty thousand words that stand twice are found without comparing each with each."""
    words = ", ".join(f"e{i}" for i in range(10_000))
    found = codes(text_of(f"  ga4: {{needs: nothing, because: x, send: [event], events: [{words}, {words}]}}"))
    assert sum(code == "P021" for code, _, _ in found) == 10_000


def test_a_vendor_that_no_source_can_speak_of_is_told(tmp_path: Path) -> None:
    """A warning, since nothing more leaves by it: with a source that holds IAB strings there is none."""
    vendor = text_of("  ga4: {needs: [analytics], vendor: {tcf: 755}, send: [event]}")
    assert "P017" in {code for code, _, _ in codes(vendor)}
    for source in ("tcf", "gpp", "cmp_cookie"):
        read = vendor.replace("read_from: [event]", f"read_from: [event, {source}]")
        assert "P017" not in {code for code, _, _ in codes(read)}


def test_files_that_are_not_read_are_told(tmp_path: Path) -> None:
    """A policy under another ending, or further down, would be missed in silence; hidden files and tests are no policies."""
    (tmp_path / "old").mkdir()
    (tmp_path / ".git").mkdir()
    for name in ("eu.yaml", "eu_test.yaml", "kenya.yml", "UPPER.YAML", "old/eu.yaml", ".git/x.yaml", ".hidden.yml", "notes.txt"):
        (tmp_path / name).write_text("x: 1\n")
    found = unread_files(tmp_path)
    assert [Path(p.file).relative_to(tmp_path).as_posix() for p in found] == ["UPPER.YAML", "kenya.yml", "old/eu.yaml"]
    assert {(p.code, p.severity) for p in found} == {("P034", "warning")}
    assert unread_files(tmp_path / "eu.yaml") == []
