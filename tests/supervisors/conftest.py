"""Fixtures, and the virtual time in which these tests run."""

import asyncio
from collections.abc import Callable

import pytest

from tests.actors.kernel import events, loop_factories, nothing_left_behind, system

__all__ = ["events", "nothing_left_behind", "system"]


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return loop_factories(item)
