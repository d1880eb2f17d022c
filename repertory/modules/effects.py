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
from math import isfinite
from typing import Any, Protocol

from pydantic_core import to_jsonable_python

from repertory.errors import ConfigError, ProgramError, RepertoryError
from repertory.modules.dispatch import current_dispatcher
from repertory.modules.pending import arrived
from repertory.modules.run_info import RunInfo
from repertory.signatures.json_text import dump_json


class CurrentRun(Protocol):
    """The run in which code is executed, as far as its program may speak to it."""

    @property
    def info(self) -> RunInfo:
        """Its context."""
        ...

    async def effect(self, name: str, arguments: Any, work: Callable[[], Awaitable[Any]]) -> Any:
        """The outcome of ``work``, done once a run and recorded; ``arguments`` tell it from others of its name."""
        ...

    async def sleep_until(self, time: float) -> None:
        """Return at a point in time, in seconds since the Unix epoch."""
        ...

    async def wait_for_signal(self, name: str, timeout: float | None) -> Any:
        """The value of the next signal of this name. Raises DeadlineExceeded after ``timeout`` seconds."""
        ...


current_run: ContextVar[CurrentRun | None] = ContextVar("current_run", default=None)
"""Set for the length of a run, in the run's own context."""

performing: ContextVar[str | None] = ContextVar("performing", default=None)
"""The step whose function is executed at present, for what that does in its turn."""


def this_run() -> RunInfo:
    """The context of the run in which this is called: its id, deadline, terms, trace and tags.

    Raises ProgramError outside of a run.
    """
    run = current_run.get()
    if run is None:
        raise ProgramError(
            "this_run() outside of a run", hint="Start the program on a Runtime, and call it there."
        )
    return run.info


async def step(name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """What ``function`` returns for these arguments, recorded: a run that goes on reads it, and does not call.

    It may be called more than once where the process dies between its effect and the record of it: it should be
    idempotent, or ask whether it has been done.

    Args:
        name: Tells this step from others of the run; called again with equal arguments it is another step.
        function: An ordinary function, or an async one. An ordinary one must not block.
        args, kwargs: Must be JSON, or what pydantic makes JSON of, or references to it; so must be what it
            returns, which comes back as JSON has it.

    Raises what ``function`` raises; as ProgramError, where it is none of Repertory's.
    """

    args, kwargs = await arrived((args, kwargs))

    async def work() -> Any:
        outcome = function(*args, **kwargs)
        return await outcome if inspect.isawaitable(outcome) else outcome

    run = current_run.get()
    if run is None:
        _refuse_while_traced(f"step({name!r})")
        return await performed(name, work)
    return await run.effect(name, [args, kwargs], work)


async def performed(name: str, work: Callable[[], Awaitable[Any]]) -> Any:
    """The outcome of the step ``name`` as JSON has it. Raises ProgramError for what is none of Repertory's."""
    try:
        outcome = await work()
    except RepertoryError:
        raise
    except (Exception, SystemExit) as failure:
        raise ProgramError(f"step {name!r} raised {type(failure).__name__}: {failure}") from failure
    return as_json(f"step {name!r} returned", outcome)


def as_json(what: str, value: Any) -> Any:
    """``value`` as it will be read again. Raises ProgramError where JSON cannot hold it."""
    try:
        plain = to_jsonable_python(value, inf_nan_mode="null")
        dump_json(plain)  # it may hold halves of characters
        return plain
    except (ValueError, TypeError) as error:
        raise ProgramError(
            f"{what} what JSON cannot hold: {error}", hint="Give it plain values, or models of pydantic."
        ) from error


def _refuse_while_traced(what: str) -> None:
    """Raise where there is somebody to whom modules' calls go, but no run: he only wants to know the graph."""
    if current_dispatcher.get() is not None:
        raise ProgramError(f"{what} is not done while a program is traced", hint="It runs as it is.")


async def sleep_until(when: datetime | float) -> None:
    """Return at ``when``; a run that goes on after its process died sleeps only as long as is left.

    Args:
        when: A point in time that knows its time zone, or seconds since the Unix epoch.

    Raises ConfigError for a ``datetime`` without a time zone, and for what is no point in time.
    """
    if isinstance(when, datetime):
        if when.tzinfo is None:
            raise ConfigError(f"sleep_until: {when!r} has no time zone", hint="Write datetime(..., tzinfo=UTC).")
        when = when.timestamp()
    if not isfinite(when):
        raise ConfigError(f"sleep_until: {when!r} is no point in time", hint="Write seconds since the Unix epoch.")
    run = current_run.get()
    if run is not None:
        await run.sleep_until(when)
    else:
        _refuse_while_traced("sleep_until")
        await asyncio.sleep(max(0.0, when - time.time()))


async def wait_for_signal(name: str, *, timeout: float | None = None) -> Any:
    """The value of the next signal ``name`` that the run is sent, such as a human's approval.

    Signals wait for whoever asks for them, in the order in which they were sent.

    Args:
        timeout: Seconds from when this was called, above 0; a run that goes on waits for so long once more. None:
            as long as the run may take.

    Raises:
        DeadlineExceeded: None came in time; a run that goes on is told so again.
        ProgramError: There is no run that could be sent one.
    """
    run = current_run.get()
    if run is None:
        _refuse_while_traced(f"wait_for_signal({name!r})")
        raise ProgramError(
            f"wait_for_signal({name!r}) outside of a run", hint="Start the program on a Runtime, and submit it."
        )
    return await run.wait_for_signal(name, timeout)
