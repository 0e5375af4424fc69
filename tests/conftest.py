"""One run of the suite is like the next: properties try the same examples every time. The long run draws new ones."""

from __future__ import annotations

from hypothesis import settings

from tests.scale import SCALE

settings.register_profile("same", derandomize=True, database=None)
if SCALE == 1:
    settings.load_profile("same")
