"""Packages of optional extras, in tests."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import pytest


def extra(module: str, name: str) -> Any:
    """The module of an optional extra; without it the caller is skipped, or fails under EBBGATE_TEST_REQUIRE=1."""
    if os.environ.get("EBBGATE_TEST_REQUIRE") == "1":
        return import_module(module)
    return pytest.importorskip(module, reason=f"the extra `{name}` is not installed")
