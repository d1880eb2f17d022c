"""What the tests of admission share: limits on the running loop's time, and the end of an attempt."""

import asyncio

from repertory.providers.limits import Limits, LimitSettings, Turn
from tests.virtual_time import LoopClock

LATER = 1e9


def limits_of(**limits: float) -> Limits:
    return Limits(LimitSettings(**limits), LoopClock(), endpoint="qa")  # type: ignore[arg-type]  # ints too


def end(limits: Limits, turn: Turn, error: Exception | None = None, tokens: int | None = None) -> None:
    limits.finish(turn, seconds=0.1, tokens=tokens, error=error, headers=None)


async def settled(turns: int = 10) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)
