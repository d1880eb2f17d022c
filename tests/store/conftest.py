"""A store in a directory of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repertory.store import Store


@pytest.fixture
def location(tmp_path: Path) -> Path:
    return tmp_path / "repertory.db"


@pytest.fixture
async def store(location: Path) -> AsyncIterator[Store]:
    store = await Store.open(location)
    yield store
    await store.close()
