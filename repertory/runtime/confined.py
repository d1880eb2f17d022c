"""Code that need not obey: run in a task of its own, which whoever waits for it can leave behind."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

from repertory.actors.runner import GRACE

ResultT = TypeVar("ResultT")
Work: TypeAlias = asyncio.Task[ResultT | None]


class Overdue(Exception):
    """The work was not done in time; it has been cancelled."""


async def confined(work: Awaitable[ResultT], timeout: float, on_stuck: Callable[[Work[ResultT]], None]) -> ResultT:
    """What ``work`` returns or raises; it is cancelled after ``timeout`` seconds, or when the caller is.

    Work that withstands this for `GRACE` seconds is left behind: ``on_stuck`` gets its task, and the caller goes
    on as if it had ended. An answer or error that comes of it meanwhile counts, unless the caller was cancelled.

    Args:
        work: Must not raise SystemExit: out of a task it ends the loop.

    Raises Overdue.
    """
    loop = asyncio.get_running_loop()
    # Not `asyncio.wait`: it would add some 4 µs to every run.
    outcome: asyncio.Future[ResultT] = loop.create_future()
    answering = _answered(work, outcome)
    task = loop.create_task(answering)
    timer = loop.call_later(timeout, _expire, outcome)
    try:
        return await outcome
    except (Overdue, asyncio.CancelledError) as reason:
        task.add_done_callback(_hear)
        if not task.done():
            await _end(task, on_stuck)
        if isinstance(reason, Overdue) and task.done() and not _gave_way(task):
            return task.result()  # type: ignore[return-value]  # None is what one returns that set the outcome
        raise
    finally:
        timer.cancel()


async def _answered(work: Awaitable[ResultT], outcome: asyncio.Future[ResultT]) -> ResultT | None:
    """Set ``outcome``; where nobody waits for it any more, return or raise it."""
    try:
        result = await work
    except BaseException as error:
        if outcome.done():
            raise
        outcome.set_exception(error)
        return None
    if not outcome.done():
        outcome.set_result(result)
    return result


def _expire(outcome: asyncio.Future[ResultT]) -> None:
    if not outcome.done():
        outcome.set_exception(Overdue())


async def _end(task: Work[ResultT], on_stuck: Callable[[Work[ResultT]], None]) -> None:
    """Cancel ``task`` and wait for it; a cancellation of the caller does not cut this short, it is raised then."""
    loop = asyncio.get_running_loop()
    until = loop.time() + GRACE
    interruption: asyncio.CancelledError | None = None
    task.cancel()
    while not task.done() and (left := until - loop.time()) > 0:
        try:
            await asyncio.wait({task}, timeout=left)
        except asyncio.CancelledError as error:
            interruption = error
    if not task.done():
        on_stuck(task)
    if interruption is not None:
        raise interruption


def _gave_way(task: Work[ResultT]) -> bool:
    """Whether a task that is done ended as one does whose time was up."""
    return task.cancelled() or isinstance(task.exception(), TimeoutError)


def _hear(task: Work[ResultT]) -> None:
    """Nobody may ask how it ended, and asyncio would log that."""
    if not task.cancelled():
        task.exception()
