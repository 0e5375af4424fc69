"""The real Chromium of this machine, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import Any, Final

import pytest

CHROMIUM: Final = "/usr/bin/chromium"
ARGUMENTS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium_or_skip() -> Any:
    """Playwright's entry point; where it or Chromium is missing the test is skipped, or fails under EBBGATE_TEST_REQUIRE=1."""
    with suppress(ImportError):
        from playwright.async_api import async_playwright

        if shutil.which(CHROMIUM):
            return async_playwright
    why = f"needs playwright and {CHROMIUM}"
    if os.environ.get("EBBGATE_TEST_REQUIRE") == "1":
        pytest.fail(why)
    pytest.skip(why)
