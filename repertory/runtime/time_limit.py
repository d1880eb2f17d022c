"""A limit of time for a piece of work, told from time limits of the work's own."""

import asyncio
from collections.abc import Callable, Coroutine
from math import inf
from typing import Any, TypeVar

from repertory.errors import DeadlineExceeded

T = TypeVar("T")


async def within(work: Callable[[], Coroutine[Any, Any, T]], timeout: float | None, name: str) -> T:
    """What ``work`` gives within ``timeout`` seconds (None or infinite: no limit). Raises DeadlineExceeded."""
    if timeout is None or timeout == inf:
        return await work()
    try:
        async with asyncio.timeout(timeout) as limit:
            return await work()
    except TimeoutError as error:
        if not limit.expired():
            raise  # it is the work's own
        raise DeadlineExceeded(f"{name}: not done within {timeout:g} s") from error
