from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chromium import chromium_or_skip
from tests.tag.visit import Stage, Visit, staged, visiting


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    async with staged(chromium_or_skip(), tmp_path_factory.mktemp("tag")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def visit(stage: Stage) -> AsyncIterator[Visit]:
    async with visiting(stage) as found:
        yield found
        assert found.complaints == []  # no CSP violation, no console error
