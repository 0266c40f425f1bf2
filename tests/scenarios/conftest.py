"""Fixtures of the stories."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ionbeam.testing.scenario import Scenario, a_platform


@pytest.fixture
async def story(tmp_path: Path) -> AsyncIterator[Scenario]:
    async with a_platform(tmp_path) as scenario:
        yield scenario
