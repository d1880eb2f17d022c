"""Worker processes for functions that compute: metrics and tools that would hold up the event loop."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Self, TypeVar, TypeVarTuple, cast

from repertory.actors.spec import is_count, is_seconds, refuse
from repertory.errors import DeadlineExceeded, Overloaded, RuntimeClosed, WorkerCrashed
from repertory.runtime.errand import Outcome, content_of, packed
from repertory.runtime.worker_process import WorkerDied, WorkerProcess

ResultT = TypeVar("ResultT")
Args = TypeVarTuple("Args")

IDLE_AFTER = 60.0  # seconds without work after which a process ends
RETRY_AFTER = 1.0  # seconds; how long functions take nobody knows


class Processes:
    """A pool of worker processes.

    Invariants: at most ``limit`` calls are worked on at a time, each by a process of its own; a process is started
    only when none is idle. ``_idle`` holds those without work, the latest used last. A process whose call was not
    waited for to its end, in time and uncancelled, is killed. After ``close`` there is none.

    Functions, arguments and results travel by pickle. Nothing from outside may be handed over unchecked, and code
    that a model wrote belongs into the sandbox: a worker may do all that its owner may.

    Args:
        limit: Most processes at work; None: as many as there are processors.
        waiting: Most calls that wait for a process; more are refused.
        idle_after: Seconds without work after which a process ends.

    Raises ConfigError naming the argument.
    """

    def __init__(self, limit: int | None = None, *, waiting: int = 1000, idle_after: float = IDLE_AFTER) -> None:
        limit = limit if limit is not None else os.cpu_count() or 1
        if not is_count(limit, 1):
            refuse("Processes", "limit", limit, "a whole number, at least 1, or None")
        if not is_count(waiting, 0):
            refuse("Processes", "waiting", waiting, "a whole number, 0 or more")
        if not is_seconds(idle_after):
            refuse("Processes", "idle_after", idle_after, "seconds, 0 or more")
        self._limit = limit
        self._waiting = waiting
        self._idle_after = idle_after
        self._turns = asyncio.Semaphore(limit)
        self._calls = 0  # at work or waiting
        self._workers: set[WorkerProcess] = set()
        self._idle: dict[WorkerProcess, asyncio.TimerHandle] = {}  # with what ends their idling
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def run(self, function: Callable[[*Args], ResultT], *args: *Args, timeout: float) -> ResultT:
        """Call a module's function in a worker process; return what it returns.

        Args:
            timeout: Seconds it may take, the wait for a process included. Then, or when the caller is cancelled,
                the process is killed.

        Raises what the function raises, with the traceback from the process as a note, and:
            ProgramError: Function, arguments, result or error cannot be sent between processes.
            WorkerCrashed: The process ended before the function was done, or could not be started.
            DeadlineExceeded: It was not done in time.
            Overloaded: Too many calls wait already.
            RuntimeClosed: The pool is closed, or was meanwhile.
        """
        if not is_seconds(timeout, above=True):
            refuse("Processes.run", "timeout", timeout, "seconds above 0")
        name = getattr(function, "__qualname__", repr(function))
        job = packed(name, function, args)
        self._check_open(name)
        self._check_room(name)
        self._calls += 1
        try:
            async with asyncio.timeout(timeout), self._turns:
                self._check_open(name)
                outcome = await self._have_done(job, timeout)
        except TimeoutError:
            raise DeadlineExceeded(f"{name} was not done by a worker process within {timeout:g} s") from None
        except WorkerDied as death:
            raise (_closed(name) if self._closed else _crashed(name, death)) from death
        except OSError as error:
            raise WorkerCrashed(
                f"no process could be started to run {name}: {error}",
                hint="See to memory and limits of processes.",
            ) from error
        finally:
            self._calls -= 1
        return cast(ResultT, content_of(name, outcome))

    def shrink(self, share: float) -> None:
        """Let all processes go that have nothing to do, whatever the ``share``: the next call starts one."""
        while (worker := self._take_idle()) is not None:
            self._end(worker)

    async def close(self) -> None:
        """Kill the processes, at work or not, and return when they are gone; calls get RuntimeClosed."""
        self._closed = True
        self.shrink(1.0)
        for worker in tuple(self._workers):
            self._end(worker)
        for _ in range(self._limit):  # who has all turns knows that no call has one
            await self._turns.acquire()
        for _ in range(self._limit):
            self._turns.release()
        if self._ending:
            await asyncio.wait(self._ending)

    def _check_open(self, name: str) -> None:
        if self._closed:
            raise _closed(name)

    def _check_room(self, name: str) -> None:
        if self._calls >= self._limit + self._waiting:
            raise Overloaded(
                f"{name}: {self._waiting} calls wait for one of {self._limit} worker processes already",
                hint="Send fewer at a time, or allow more processes.",
                retry_after=RETRY_AFTER,
            )

    async def _have_done(self, job: bytes, timeout: float) -> Outcome:
        worker = self._take_idle() or await WorkerProcess.start()
        self._workers.add(worker)
        try:
            if self._closed:  # while it started
                raise WorkerDied(None)
            outcome = await worker.do(job, timeout)
        except BaseException:
            await _until_done(self._end(worker))
            raise
        self._rest(worker)
        return outcome

    def _take_idle(self) -> WorkerProcess | None:
        while self._idle:
            worker, timer = self._idle.popitem()
            timer.cancel()
            if worker.alive:
                return worker
            self._end(worker)
        return None

    def _rest(self, worker: WorkerProcess) -> None:
        if self._closed:
            self._end(worker)
        else:
            loop = asyncio.get_running_loop()
            self._idle[worker] = loop.call_later(self._idle_after, self._rested_long_enough, worker)

    def _rested_long_enough(self, worker: WorkerProcess) -> None:
        del self._idle[worker]
        self._end(worker)

    def _end(self, worker: WorkerProcess) -> asyncio.Task[None]:
        self._workers.discard(worker)
        ending = worker.kill()
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        return ending


async def _until_done(ending: asyncio.Task[None]) -> None:
    """Wait, however often the caller is cancelled meanwhile; the process's end takes no longer than it may."""
    interruption: asyncio.CancelledError | None = None
    while not ending.done():
        try:
            await asyncio.wait({ending})
        except asyncio.CancelledError as error:
            interruption = error
    if interruption is not None:
        raise interruption


def _closed(name: str) -> RuntimeClosed:
    return RuntimeClosed(f"{name}: the worker processes were closed")


def _crashed(name: str, death: WorkerDied) -> WorkerCrashed:
    status = death.status
    if status == -signal.SIGKILL:
        hint = "That is what the system does to those who take too much memory."
    else:
        hint = "Whatever it said last is on standard error."
    return WorkerCrashed(f"the process that ran {name} {_told(status)} before it replied", hint=hint)


def _told(status: int | None) -> str:
    if status is None:
        return "let go of its pipes"
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"
