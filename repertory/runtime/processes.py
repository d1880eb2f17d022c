"""Worker processes for functions that compute: metrics and tools that would hold up the event loop.

The processes are anyio's (https://anyio.readthedocs.io/en/stable/subprocesses.html), which end with the event loop
that they were started on. So that they end with their owner instead, that loop is one of their own, in a thread.
"""

import asyncio
import os
import pickle
import signal
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal, Self, TypeVar, TypeVarTuple, cast

from anyio import BrokenWorkerProcess, CapacityLimiter, fail_after, to_process
from anyio.from_thread import BlockingPortal, start_blocking_portal

from repertory.actors.spec import is_count, is_seconds, refuse
from repertory.errors import DeadlineExceeded, Overloaded, ProgramError, RuntimeClosed, WorkerCrashed

ResultT = TypeVar("ResultT")
Args = TypeVarTuple("Args")

IDLE_AFTER = 60.0  # seconds without any work until the workers end
RETRY_AFTER = 1.0  # seconds; how long functions take nobody knows


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of a call, as it travels.

    Attributes:
        kind: Whether ``content`` is what it ``returned`` or the error it ``raised``; or that it ``quit``, by what
            is meant to end a process; or that function or arguments were ``unknown`` to the process.
        content: A pickle; empty where it could not be made, or is not wanted.
        told: In words, for where there is no content, or it cannot be read.
    """

    kind: Literal["returned", "raised", "quit", "unknown"]
    content: bytes
    told: str


class Processes:
    """A pool of worker processes.

    Invariants: there are at most ``limit`` processes, and one more is started only when all are at work; a process
    works on one call at a time; one whose call is over its time, or cancelled, is killed. After ``close`` there is
    no process, and no thread.

    Functions, arguments and results travel by pickle. Nothing from outside may be handed over unchecked, and code
    that a model wrote belongs into the sandbox: a worker may do all that its owner may.

    Args:
        limit: Most processes; None: as many as there are processors.
        waiting: Most calls that wait for a process; more are refused.
        idle_after: Seconds without a call after which the processes end. The next call starts one anew.

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
        self._calls: set[Future[_Outcome]] = set()
        self._workshop: _Workshop | None = None
        self._retiring: set[asyncio.Future[None]] = set()
        self._retirement: asyncio.TimerHandle | None = None
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
            WorkerCrashed: The process ended before the function was done.
            DeadlineExceeded: It was not done in time.
            Overloaded: Too many calls wait already.
            RuntimeClosed: The pool is closed, or was meanwhile.
        """
        name = getattr(function, "__qualname__", repr(function))
        job = _packed(name, function, args)
        self._check_open(name)
        call = self._opened().start(job, timeout)
        self._calls.add(call)
        try:
            outcome = await asyncio.wrap_future(call)
        except TimeoutError:
            raise DeadlineExceeded(
                f"{name} was not done within {timeout:g} s", hint="Its process has been killed."
            ) from None
        except BrokenWorkerProcess as error:
            raise _crashed(name, error) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                raise _closed(name) from None
            raise
        finally:
            self._calls.discard(call)
            self._rest()
        return cast(ResultT, _content(name, outcome))

    async def close(self) -> None:
        """Kill the processes, at work or not, and return when they are gone; calls get RuntimeClosed."""
        self._closed = True
        for call in tuple(self._calls):
            call.cancel()
        self._retire()
        if self._retiring:
            await asyncio.wait(self._retiring)

    def shrink(self, share: float) -> None:
        """Let the processes go at once, whatever the ``share``, if none of them is at work."""
        if not self._calls:
            self._retire()

    def _check_open(self, name: str) -> None:
        if self._closed:
            raise _closed(name)
        if len(self._calls) >= self._limit + self._waiting:
            raise Overloaded(
                f"{name}: {self._waiting} calls wait for one of {self._limit} worker processes already",
                hint="Send fewer at a time, or allow more processes.",
                retry_after=RETRY_AFTER,
            )

    def _opened(self) -> "_Workshop":
        if self._retirement is not None:
            self._retirement.cancel()
            self._retirement = None
        if self._workshop is None:
            self._workshop = _Workshop(self._limit)
        return self._workshop

    def _rest(self) -> None:
        """If there is nothing to do, let the processes go unless that changes soon."""
        if not self._calls and self._workshop is not None and not self._closed:
            self._retirement = asyncio.get_running_loop().call_later(self._idle_after, self._retire)

    def _retire(self) -> None:
        if self._retirement is not None:
            self._retirement.cancel()
            self._retirement = None
        if self._workshop is not None:
            ending = asyncio.get_running_loop().run_in_executor(None, self._workshop.close)
            self._workshop = None
            self._retiring.add(ending)
            ending.add_done_callback(self._retiring.discard)


def _closed(name: str) -> RuntimeClosed:
    return RuntimeClosed(f"{name}: the worker processes were closed")


def _crashed(name: str, error: BrokenWorkerProcess) -> WorkerCrashed:
    if error.args:  # a message: it has not come as far as to the function
        return WorkerCrashed(
            f"no process could be started to run {name}: {error.__cause__ or error}",
            hint="It loads the program's main module too: what that is to do belongs under `if __name__ == ...`.",
        )
    return WorkerCrashed(
        f"the process that ran {name} ended before it replied",
        hint="It was killed, for lack of memory perhaps, or the function ended it: os._exit, a fault in C code.",
    )


class _Workshop:
    """An event loop in a thread, and the worker processes that were started on it, which end with it."""

    __slots__ = ("_limiter", "_portal", "_stack")

    def __init__(self, limit: int) -> None:
        self._stack = ExitStack()
        self._portal: BlockingPortal = self._stack.enter_context(
            start_blocking_portal(name="repertory worker processes")
        )
        self._limiter = self._portal.call(CapacityLimiter, limit)

    def start(self, job: bytes, timeout: float) -> Future[_Outcome]:
        """Have ``job`` done; cancelling what it returns kills the process that does it."""
        return self._portal.start_task_soon(self._do, job, timeout)

    def close(self) -> None:
        """End the processes and the thread, and return when they are gone."""
        self._stack.close()

    async def _do(self, job: bytes, timeout: float) -> _Outcome:
        with fail_after(timeout):
            return await to_process.run_sync(_perform, job, cancellable=True, limiter=self._limiter)


# --- on its way ----------------------------------------------------------------------------------------------


def _packed(name: str, function: Callable[[*Args], object], args: tuple[*Args]) -> bytes:
    try:
        pickle.dumps(function)
    except Exception as error:
        raise ProgramError(
            f"{name} cannot be sent to a worker process: {error}",
            hint="Define it with `def` at the top level of a module: no lambda, no function within another.",
        ) from error
    try:
        return pickle.dumps((function, args), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise ProgramError(
            f"an argument of {name} cannot be sent to a worker process: {error}",
            hint="Hand over plain data, and let the function open files and connections itself.",
        ) from error


def _perform(job: bytes) -> _Outcome:
    """In the process: do it, and see that the outcome can be sent."""
    # Ctrl-C goes to all processes of a terminal. An idle worker would answer it, and from then on every call would
    # get the answer of the one before.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        function, args = pickle.loads(job)
    except Exception as error:  # noqa: BLE001  # whatever it is, the caller is told
        return _Outcome("unknown", b"", repr(error))
    try:
        return _sendable("returned", function(*args))
    except Exception as error:  # noqa: BLE001  # it is the caller's
        error.add_note(f"In the worker process:\n{traceback.format_exc()}")
        return _sendable("raised", error)
    except BaseException as error:  # noqa: BLE001  # it ends the function, not the process, nor who waits for it
        return _Outcome("quit", b"", repr(error))


def _sendable(kind: Literal["returned", "raised"], content: object) -> _Outcome:
    try:
        return _Outcome(kind, pickle.dumps(content, pickle.HIGHEST_PROTOCOL), repr(type(content)))
    except Exception as error:  # noqa: BLE001  # likewise
        return _Outcome(kind, b"", f"{content!r:.200} ({error})")


def _content(name: str, outcome: _Outcome) -> object:
    """What the function returned. Raises what it raised, and as `Processes.run`."""
    match outcome.kind:
        case "quit":
            raise WorkerCrashed(
                f"{name} ended its process by {outcome.told}", hint="Let it return, or raise an error."
            )
        case "unknown":
            raise ProgramError(
                f"{name} or an argument cannot be found in a worker process: {outcome.told}",
                hint="Put it into a module that can be imported by its name.",
            )
    try:
        content = pickle.loads(outcome.content)
    except Exception as error:  # errors whose classes want more arguments than their message, among others
        raise ProgramError(
            f"{name} {outcome.kind} what cannot be sent between processes: {outcome.told}",
            hint="Let it return plain data, and raise errors that are made of one text.",
        ) from error
    if outcome.kind == "raised":
        raise content
    return content
