"""Keys: made once, private, silent; what they seal and derive."""

from __future__ import annotations

import copy
import hmac
import pickle
import re
from pathlib import Path

import pytest

from ebbgate.errors import ConfigError, StoreBroken
from ebbgate.model import Trust
from ebbgate.store import keys as keys_module
from ebbgate.store.keys import OVERHEAD, KeyRing, concerns, server_twin, split_subject


def test_made_files_are_private_and_load_again(tmp_path: Path) -> None:
    """Directory 0700, files 0600; a second process derives and opens the same."""
    made = KeyRing.create(tmp_path / "keys", node="node-1")
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "keys").iterdir()}
    assert modes == {"data.key": 0o600, "pepper.key": 0o600, "log.key": 0o600, "node": 0o600}
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    again = KeyRing.load(tmp_path / "keys")
    assert again.open(made.seal(b"plain", b"here"), b"here") == b"plain"
    assert again.event_key("shop", "1") == made.event_key("shop", "1")
    assert again.log_seed() == made.log_seed()
    assert again.node == "node-1"


def test_never_overwrites(tmp_path: Path) -> None:
    """Where any key file is, none is made."""
    (tmp_path / "pepper.key").write_bytes(b"mine")
    with pytest.raises(ConfigError, match="pepper"):
        KeyRing.create(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["pepper.key"]


@pytest.mark.parametrize("name", ["data.key", "pepper.key", "log.key", "node"])
def test_unusable_files_are_refused(tmp_path: Path, name: str) -> None:
    """A key that is missing, short or readable by others is an error with a hint."""
    KeyRing.create(tmp_path / "keys")
    file = tmp_path / "keys" / name
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="read by others") as error:
        KeyRing.load(tmp_path / "keys")
    assert "chmod 600" in error.value.hint
    file.chmod(0o600)
    file.write_bytes(b"\xff short")
    with pytest.raises(ConfigError):
        KeyRing.load(tmp_path / "keys")
    file.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        KeyRing.load(tmp_path / "keys")


def test_an_open_directory_is_refused(tmp_path: Path) -> None:
    """Keys in a directory that others can list, or that is not there, are not used."""
    KeyRing.create(tmp_path / "keys")
    (tmp_path / "keys").chmod(0o755)
    with pytest.raises(ConfigError, match="read by others"):
        KeyRing.load(tmp_path / "keys")
    with pytest.raises(ConfigError, match="no keys"):
        KeyRing.load(tmp_path / "absent")


def test_sealed_bytes_open_only_where_they_belong() -> None:
    """Another key, another place, another key id or a changed byte: nothing is opened."""
    keys = KeyRing.ephemeral()
    sealed = keys.seal(b"canary", b"place")
    assert keys.open(sealed, b"place") == b"canary"
    assert len(sealed) == len(b"canary") + OVERHEAD
    assert sealed != keys.seal(b"canary", b"place")
    changed = [sealed[:i] + bytes([sealed[i] ^ 1]) + sealed[i + 1 :] for i in range(len(sealed))]
    for ring, data, place in [
        (KeyRing.ephemeral(), sealed, b"place"),
        (keys, sealed, b"other"),
        (keys, sealed[:20], b"place"),
        (keys, b"", b"place"),
        *[(keys, c, b"place") for c in changed],
    ]:
        with pytest.raises(StoreBroken) as error:
            ring.open(data, place)
        assert "canary" not in str(error.value)


def test_derived_keys_keep_their_parts_apart() -> None:
    """Domain, site, trust, name and id each matter, and no two splits of one text collide."""
    keys = KeyRing.ephemeral()
    server, browser = Trust.SERVER, Trust.BROWSER
    found = [
        keys.event_key("shop", "1"),
        keys.event_key("sho", "p1"),
        keys.event_key("", "shop1"),
        keys.claim_key("shop", server, "purchase", "1"),
        keys.claim_key("shop", browser, "purchase", "1"),
        keys.claim_key("shop", server, "refund", "1"),
        keys.claim_key("other", server, "purchase", "1"),
        keys.order_key("shop", server, "purchase", "1"),
        keys.subject_key("shop", "1"),
        KeyRing.ephemeral().event_key("shop", "1"),
    ]
    assert len(set(found)) == len(found)
    assert {len(k) for k in found} == {16}
    assert keys.event_key("shop", "1") == found[0]


def test_pseudonyms_are_keyed() -> None:
    """The same value has the same pseudonym under one key only; its text says nothing of the value."""
    keys = KeyRing.ephemeral()
    assert keys.pseudonym("ana@example.com") == keys.pseudonym("ana@example.com")
    assert keys.pseudonym("ana@example.com") != KeyRing.ephemeral().pseudonym("ana@example.com")
    assert keys.pseudonym("a").startswith("p1-")


def test_keys_are_silent() -> None:
    """`repr` shows nothing, and keys cannot be copied or pickled by accident."""
    keys = KeyRing.ephemeral()
    assert repr(keys) == "KeyRing()"
    with pytest.raises(TypeError):
        pickle.dumps(keys)
    with pytest.raises(TypeError):
        copy.copy(keys)


def test_a_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    """The operator learns which file to restore: a key cut short, a node without a usable name."""
    KeyRing.create(tmp_path / "keys")
    for name, content in (("pepper.key", b"short"), ("node", b"Node 1\n")):
        path = tmp_path / "keys" / name
        before = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=re.escape(str(path))):
            KeyRing.load(tmp_path / "keys")
        path.write_bytes(before)
    KeyRing.load(tmp_path / "keys")


def test_wrong_lengths_are_refused() -> None:
    """A key of another length, or a node without a usable name, makes no ring."""
    good = bytes(32)
    for wrong in ((good[:31], good, good, "n"), (good, good, good, "Node 1"), (good, good, good, "")):
        with pytest.raises(ConfigError):
            KeyRing(*wrong)


def test_concerns_looks_at_whole_keys() -> None:
    """A subject is found among joined keys only at a key's place, and no subject concerns nothing."""
    a, b = b"a" * 16, b"b" * 16
    assert concerns(a + b, b)
    assert concerns(a, a)
    assert concerns(a + b, a + b)
    assert not concerns(a + b, b"a" * 8 + b"b" * 8)
    assert not concerns(b"", b"")
    assert not concerns(a, b"")


@pytest.mark.parametrize("length", [0, 1, 60, 200])
def test_derived_keys_are_hmac_sha256(length: int) -> None:
    """The quick way to derive gives what RFC 2104 says, for every length; parts cannot be shifted into each other."""
    pepper = bytes(range(32))
    keys = KeyRing(bytes(32), pepper, bytes(32), "n")
    text = "ü" * length
    message = f"5:event4:shop{length}:{text}".encode()
    digest = hmac.digest(pepper, message, "sha256")
    assert keys.event_key("shop", text) == digest[:16]
    names = hmac.digest(pepper, b"5:claim8:purchase", "sha256")[1:16]
    claim = bytes(one ^ other for one, other in zip(digest[17:], names, strict=True))
    assert keys.claim_key("shop", Trust.SERVER, "purchase", text) == b"s" + claim
    assert keys.event_keys("shop", Trust.BROWSER, "purchase", text) == (digest[:16], b"b" + claim)
    assert keys.claim_key("shop", Trust.SERVER, "ab", "c") != keys.claim_key("shop", Trust.SERVER, "a", "bc")
    assert keys.order_key("shop", Trust.SERVER, "ab", "c") != keys.claim_key("shop", Trust.SERVER, "ab", "c")


def test_an_event_key_says_nothing_of_its_claim() -> None:
    """They are made of different halves of a digest; claims end evenly spread, and a browser's claim has its server's twin."""
    keys = KeyRing.ephemeral()
    made = [keys.event_keys("shop", Trust.SERVER, "purchase", str(n)) for n in range(512)]
    assert len({claim[-1] for _, claim in made}) > 200
    moved = {bytes(a ^ b for a, b in zip(key[1:], claim[1:], strict=True)) for key, claim in made}
    assert len(moved) == len(made)
    assert all(server_twin(keys.claim_key("shop", Trust.BROWSER, "purchase", str(n))) == made[n][1] for n in range(9))


def test_keys_of_subjects_are_the_same_however_many_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of visitors changes no key, stays bounded, and one site's keys are not another's."""
    monkeypatch.setattr(keys_module, "_SUBJECTS", 8)
    pepper = bytes(range(32))
    keys = KeyRing(bytes(32), pepper, bytes(32), "n")
    for round_ in range(2):
        for n in range(40):
            subjects = (f"user:{n}", f"client:{n % 3}", f"client:{round_}")
            joined = keys.subject_keys("shop", subjects)
            assert split_subject(joined) == tuple(
                hmac.digest(pepper, f"7:subject4:shop{len(s)}:{s}".encode(), "sha256")[:16] for s in subjects
            )
            assert keys.subject_key("other", subjects[0]) != joined[:16]
    assert max(len(known) for held in (keys._subjects, keys._older) for known in held.values()) <= 8
