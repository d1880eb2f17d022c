"""A thread that drives coroutines which wait for nothing, one after the other, for an event loop.

What a library does without asyncio can so be called from asynchronous code at the price of one hop for all of it,
instead of one for each call.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from inspect import iscoroutine
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class SerialThread:
    """Drives one coroutine after the other, each from its beginning to its end, in the order in which they came.

    Invariant: what was handed over is driven to its end, also where whoever waits for it is cancelled.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # A daemon: an owner that never ends it must not keep the process from ending.
        self._thread = Thread(target=_work, args=(self._jobs,), name=name, daemon=True)
        self._thread.start()

    async def drive(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Have ``coroutine``, which never suspends, done in the thread; return or raise what it does."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(coroutine, done))
        return await done

    async def end(self) -> None:
        """End the thread once it has done what it was given."""
        try:
            await self.drive(_nothing())
        finally:
            self._jobs.put(None)
        self._thread.join()  # for no longer than it takes to return


class _Job:
    """A coroutine, and the future of its outcome."""

    __slots__ = ("_coroutine", "_done")

    def __init__(self, coroutine: Coroutine[Any, Any, Any], done: asyncio.Future[Any]) -> None:
        self._coroutine = coroutine
        self._done = done

    def run(self) -> None:
        outcome, error = None, None
        try:
            outcome = driven(self._coroutine)
        except BaseException as raised:  # noqa: BLE001  # it is the waiting task's, whatever it is
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._done.get_loop().call_soon_threadsafe(self._tell, outcome, error)

    def _tell(self, outcome: object, error: BaseException | None) -> None:
        if self._done.done():  # whoever waited was cancelled
            return
        if error is None:
            self._done.set_result(outcome)
        else:
            self._done.set_exception(error)


def driven(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends; RuntimeError is raised in it, and by it, if it does."""
    try:
        coroutine.send(None)
        coroutine.throw(RuntimeError(f"{_innermost(coroutine)} waits for what only an event loop could give it"))
    except StopIteration as ended:
        result: T = ended.value
        return result
    coroutine.close()
    raise RuntimeError(f"{_innermost(coroutine)} goes on after it was told not to wait")


def _innermost(coroutine: object) -> str:
    """The name of the one that the others wait for."""
    name = ""
    while iscoroutine(coroutine):
        name, coroutine = coroutine.__qualname__, coroutine.cr_await
    return name


async def _nothing() -> None:
    """What is done when all before it is."""


def _work(jobs: "SimpleQueue[_Job | None]") -> None:
    while (job := jobs.get()) is not None:
        job.run()
        del job  # nothing of it is kept while there is no other
