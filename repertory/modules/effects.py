"""What a program does besides asking models, so that it survives the end of its process.

```python
async def forward(self, order: str) -> Prediction:
    checked = await self.check(order=order)
    if not await rp.wait_for_signal("approved"):
        return Prediction(state="refused")
    receipt = await rp.step("charge", charge_card, order)
    return Prediction(state="paid", receipt=receipt)
```
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Protocol

from repertory.errors import ConfigError, DeadlineExceeded, ProgramError


class CurrentRun(Protocol):
    """The run in which code is executed, as far as its program may speak to it."""

    async def effect(self, name: str, arguments: Any, work: Callable[[], Awaitable[Any]]) -> Any:
        """The outcome of ``work``, done once a run and recorded; ``arguments`` tell it from others of its name."""
        ...

    async def sleep_until(self, time: float) -> None:
        """Return at a point in time, in seconds since the Unix epoch."""
        ...

    async def wait_for_signal(self, name: str) -> Any:
        """The value of the next signal of this name."""
        ...


current_run: ContextVar[CurrentRun | None] = ContextVar("current_run", default=None)
"""Set for the length of a run, in the run's own context."""


async def step(name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """What ``function`` returns for these arguments, recorded: a run that goes on reads it, and does not call.

    It may be called more than once where the process dies between its effect and the record of it: it should be
    idempotent, or ask whether it has been done.

    Args:
        name: Tells this step from others of the run; called again with equal arguments it is another step.
        function: An ordinary function, or an async one. An ordinary one must not block.
        args, kwargs: Must be JSON, or what pydantic makes JSON of; so must be what it returns, which comes back as
            JSON has it.

    Raises what ``function`` raises; as ProgramError, where it is none of Repertory's.
    """

    async def work() -> Any:
        outcome = function(*args, **kwargs)
        return await outcome if inspect.isawaitable(outcome) else outcome

    run = current_run.get()
    return await (run.effect(name, [args, kwargs], work) if run is not None else work())


async def sleep_until(when: datetime | float) -> None:
    """Return at ``when``; a run that goes on after its process died sleeps only as long as is left.

    Args:
        when: A point in time that knows its time zone, or seconds since the Unix epoch.

    Raises ConfigError for a ``datetime`` without a time zone.
    """
    if isinstance(when, datetime):
        if when.tzinfo is None:
            raise ConfigError(f"sleep_until: {when!r} has no time zone", hint="Write datetime(..., tzinfo=UTC).")
        when = when.timestamp()
    run = current_run.get()
    if run is not None:
        await run.sleep_until(when)
    else:
        await asyncio.sleep(max(0.0, when - time.time()))


async def wait_for_signal(name: str, *, timeout: float | None = None) -> Any:
    """The value of the next signal ``name`` that the run is sent, such as a human's approval.

    Signals wait for whoever asks for them, in the order in which they were sent.

    Args:
        timeout: Seconds from when this was called, in this life of the run; None: as long as the run may take.

    Raises:
        DeadlineExceeded: None came in time.
        ProgramError: There is no run that could be sent one.
    """
    run = current_run.get()
    if run is None:
        raise ProgramError(
            f"wait_for_signal({name!r}) outside of a run", hint="Start the program on a Runtime, and submit it."
        )
    try:
        async with asyncio.timeout(timeout):
            return await run.wait_for_signal(name)
    except TimeoutError as error:
        raise DeadlineExceeded(f"no signal {name!r} within {timeout:g} s") from error
