"""Files of JSON lines: what is packed can be read again, and the choice of form holds."""

from __future__ import annotations

from typing import Final

import pytest

from ebbgate.destinations import packed
from ebbgate.destinations.packed import Compression
from tests.optional import extra

ROWS: Final = [{"event_id": f"e-{n}", "note": "größer"} for n in range(50)]


def test_gzip_is_always_there_and_the_same_for_the_same_rows() -> None:
    """A repeat has the same name and the same bytes, whenever it is made."""
    first, second = packed.packed(ROWS, "gzip"), packed.packed(ROWS, "gzip")
    assert (first.name, first.body) == (second.name, second.body)
    assert first.name.endswith(".jsonl.gz")
    assert packed.unpacked(first.body, first.content_type).count(b"\n") == 50


def test_zstd_without_its_package_is_refused_at_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """A choice that cannot be kept is an error of the settings; `auto` falls back to gzip."""
    monkeypatch.setattr(packed, "_zstandard", None)
    with pytest.raises(ValueError, match="extra `zstd`"):
        packed.usable("zstd")
    assert packed.usable("auto") == "auto"
    assert packed.packed(ROWS, "auto").content_type == packed.GZIP
    with pytest.raises(ValueError, match="not known"):
        packed.unpacked_zstd(b"\x28\xb5\x2f\xfd", 100)


@pytest.mark.parametrize("chosen", ["auto", "zstd"])
def test_zstd_is_used_where_its_package_is(chosen: Compression) -> None:
    """The name says so, and a frame that is cut, longer than allowed or no frame is never taken for lines."""
    extra("zstandard", "zstd")
    file = packed.packed(ROWS, chosen)
    assert file.name.endswith(".jsonl.zst")
    assert packed.is_zstd(file.body)
    assert packed.unpacked(file.body, file.content_type).count(b"\n") == 50
    for spoilt, most in ((file.body[:-9], 1 << 20), (file.body, 10), (b"\x28\xb5\x2f\xfd", 1 << 20), (file.body + b"x", 1 << 20)):
        with pytest.raises(ValueError, match=r"zstd|too long"):
            packed.unpacked_zstd(spoilt, most)
