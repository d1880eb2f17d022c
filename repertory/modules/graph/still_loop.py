"""An event loop in which time stands still and nothing comes from outside.

Coroutines run in it as far as they get by themselves. `asyncio.gather`, task groups and timeouts work; sleeping,
sockets, threads and processes do not.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from dataclasses import dataclass
from types import CoroutineType, FrameType
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

MOST_TURNS = 1_000_000
"""Callbacks that are run before a program is taken for one that does not end."""


class StoodStill(Exception):
    """What runs waits for something that cannot come in here.

    Attributes:
        frames: Where it waits; what waits for another comes before it.
    """

    def __init__(self, frames: list[FrameType]) -> None:
        super().__init__()
        self.frames = frames


@dataclass(frozen=True, slots=True)
class _Turn:
    handle: asyncio.Handle
    context: Context
    callback: Callable[..., object]
    arguments: tuple[Any, ...]


class StillLoop(asyncio.AbstractEventLoop):
    """Runs what is ready, and nothing else.

    Invariant: a turn is in ``_ready`` only because something that ran in here put it there; timers never fire.
    What is not defined here raises NotImplementedError, as `asyncio.AbstractEventLoop` has it.
    """

    def __init__(self) -> None:
        self._ready: deque[_Turn] = deque()
        self._turns = 0
        self._tasks: list[asyncio.Task[Any]] = []

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """The outcome of ``main``; tasks that it left behind are cancelled. In a thread where no other loop runs.

        Raises:
            StoodStill: It waits for something that cannot come.
            RecursionError: It does not end.
        """
        asyncio._set_running_loop(self)
        try:
            task = self.create_task(main)
            self._run_ready()
            if not task.done():
                raise StoodStill(self._where_it_waits())
            return task.result()
        finally:
            try:
                self._cancel_all()
            finally:
                asyncio._set_running_loop(None)

    def _run_ready(self) -> None:
        while self._ready:
            self._turns += 1
            if self._turns > MOST_TURNS:
                raise RecursionError(f"it has not ended after {MOST_TURNS} turns")
            turn = self._ready.popleft()
            if not turn.handle.cancelled():
                turn.context.run(turn.callback, *turn.arguments)

    def _where_it_waits(self) -> list[FrameType]:
        """The frames of all tasks, those that were begun last at the end: the others wait for them."""
        frames: list[FrameType] = []
        for task in self._tasks:
            step: Any = task.get_coro()
            while isinstance(step, CoroutineType) and step.cr_frame is not None:
                frames.append(step.cr_frame)
                step = step.cr_await
        return frames

    def _cancel_all(self) -> None:
        self._turns = 0
        for task in self._tasks:
            task.cancel()
        self._run_ready()
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.exception()  # nobody else will ask for it

    # --- what tasks, futures and timeouts use ---

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Run ``callback`` after what is ready now."""
        context = context if context is not None else copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(_Turn(handle, context, callback, args))
        return handle

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """A timer, which never fires."""
        return asyncio.TimerHandle(when, callback, args, self, context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """A timer, which never fires."""
        return self.call_at(delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def time(self) -> float:
        """Always the same."""
        return 0.0

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Coroutine[Any, Any, T] | Generator[Any, None, T], **options: Any
    ) -> asyncio.Task[T]:
        """A task of this loop."""
        task = asyncio.Task(coro, loop=self, **options)
        self._tasks.append(task)
        return task

    def is_running(self) -> bool:
        """It runs as long as anybody knows it."""
        return True

    def is_closed(self) -> bool:
        """There is nothing to close."""
        return False

    def get_debug(self) -> bool:
        """No."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tasks that nobody waits for are of no concern in here."""
