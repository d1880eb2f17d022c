"""Work that blocks, kept off the event loop: in a thread, or in a process where it must be possible to end it."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from repertory.errors import ActorError
from repertory.events import CancellationIgnored

if TYPE_CHECKING:
    from repertory.actors.actor import Actor

ActorT = TypeVar("ActorT", bound="Actor[Any]")
MessageT = TypeVar("MessageT")
ReplyT = TypeVar("ReplyT")
Args = TypeVarTuple("Args")


def blocking(
    method: Callable[[ActorT, MessageT], ReplyT],
) -> Callable[[ActorT, MessageT], Coroutine[Any, Any, ReplyT]]:
    """Run a handler that blocks in a thread, off the event loop.

    ```python
    @handles(Render)
    @blocking
    def render(self, message: Render) -> bytes: ...
    ```

    The actor takes its next message when the thread is done. But a thread cannot be ended: where the asker goes
    or the actor is stopped, the thread is left to itself, beside the messages that follow; its result is dropped
    and `CancellationIgnored` is emitted. So it must not touch the event loop, nor change what other handlers use
    too; what is to be stopped for certain belongs into `in_process`.

    Raises TypeError for a method that is asynchronous already.
    """
    if iscoroutinefunction(method):
        raise TypeError(
            f"@blocking: {method.__qualname__} is asynchronous already; write `def`, or drop @blocking"
        )

    @wraps(method)
    async def in_thread(actor: ActorT, message: MessageT) -> ReplyT:
        from anyio import to_thread  # most programs block nowhere

        at_work = False

        def work() -> ReplyT:
            nonlocal at_work
            at_work = True
            try:
                return method(actor, message)
            finally:
                at_work = False

        try:
            return await to_thread.run_sync(work, abandon_on_cancel=True)
        except asyncio.CancelledError:
            system = actor.system
            if at_work and system.hooks:
                system.hooks.emit(CancellationIgnored(actor.path, actor.incarnation, type(message)))
            raise

    return in_thread


async def in_process(function: Callable[[*Args], ReplyT], *args: *Args) -> ReplyT:
    """Run a module's function in a process of its own; cancelling the caller kills that process.

    Processes are kept and used again. Function, arguments and result travel between the two by pickle, so
    the function must be importable by its name, and nothing from outside may be handed to it unchecked.

    Raises what the function raises, and ActorError if it, or the process, ended without a reply.
    """
    from anyio import BrokenWorkerProcess, to_process  # most programs block nowhere

    try:
        return await to_process.run_sync(partial(_call, function, *args), cancellable=True)
    except BrokenWorkerProcess as error:
        name = getattr(function, "__qualname__", repr(function))
        raise ActorError(f"the process that ran {name} ended before it replied") from error


def _call(function: Callable[[*Args], ReplyT], *args: *Args) -> ReplyT:
    """In the process: what is meant to end that must not end the one that waits for the reply."""
    try:
        return function(*args)
    except (SystemExit, KeyboardInterrupt) as error:
        name = getattr(function, "__qualname__", repr(function))
        raise ActorError(f"{name} ended its process by {error!r}") from error
