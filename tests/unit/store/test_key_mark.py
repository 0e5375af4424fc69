"""A store is opened by its own keys or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebbgate.errors import ConfigError
from ebbgate.store.key_mark import NAME, check_keys
from ebbgate.store.keys import KEY_BYTES, KeyRing
from ebbgate.store.sqlite import SqliteStore

DATA, PEPPER, OTHER = (bytes([n]) * KEY_BYTES for n in (1, 2, 3))


def ring(data: bytes = DATA, pepper: bytes = PEPPER) -> KeyRing:
    return KeyRing(data, pepper, OTHER, "node-1")


async def reopened(path: Path, keys: KeyRing) -> None:
    store = SqliteStore(path, keys)
    await store.open()
    await store.close()


@pytest.mark.parametrize(("keys", "named"), [(ring(pepper=OTHER), "pepper.key"), (ring(data=OTHER), "data.key")])
async def test_other_keys_do_not_open_a_store(tmp_path: Path, keys: KeyRing, named: str) -> None:
    """With another pepper recorded refusals would not be found: refused with the file's name, and its own keys open it as before."""
    path = tmp_path / "ebbgate.db"
    await reopened(path, ring())
    with pytest.raises(ConfigError, match=named):
        await reopened(path, keys)
    await reopened(path, ring())


def test_the_mark_is_private_and_gives_nothing_away(tmp_path: Path) -> None:
    """Mode 0600, none of the keys in it, and written once; one that was cut short is no mark."""
    check_keys(tmp_path, ring())
    path = tmp_path / NAME
    made = path.read_bytes()
    assert path.stat().st_mode & 0o077 == 0
    assert not any(key in made for key in (DATA, PEPPER, OTHER))
    check_keys(tmp_path, ring())
    assert path.read_bytes() == made
    path.write_bytes(made[:20])
    with pytest.raises(ConfigError, match=r"data\.key"):
        check_keys(tmp_path, ring())
