"""Links and monitors: how actors hear of each other's ends.

Semantics: Erlang/OTP ``link/1``, ``monitor/2`` and ``process_flag(trap_exit)``. Both concern lives, not paths:
the next life of a restarted actor has neither until somebody asks again. Passivation is no end.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from repertory.actors.exit import Exit
from repertory.actors.message import Message
from repertory.errors import ActorDown, LinkedActorDown

if TYPE_CHECKING:
    from repertory.actors.cell import Cell
    from repertory.actors.life import Life
    from repertory.actors.ref import ActorRef


@dataclass(eq=False, slots=True)
class Monitor:
    """One actor's interest in the end of another's present life.

    Invariant: it fires at most once, and never after ``cancel``.
    """

    watched: "ActorRef"
    _watcher: "Cell"
    _active: bool = True
    _down: "Down | None" = None

    @property
    def active(self) -> bool:
        """Whether it may still fire."""
        return self._active

    def cancel(self) -> None:
        """Do not fire any more, and take back the `Down` if it still waits (OTP: ``demonitor`` with ``flush``)."""
        self._active = False
        if self._down is not None:
            self._watcher.retract(self._down)
            self._down = None
        target = self.watched.find_cell()
        if target is not None and target.bonds is not None:
            target.bonds.monitors.pop(self, None)
        if self._watcher.bonds is not None:
            self._watcher.bonds.watching.pop(self, None)

    def fire(self, exit: Exit) -> None:
        """Tell the watcher."""
        if self._active:
            self._active = False
            if self._watcher.bonds is not None:
                self._watcher.bonds.watching.pop(self, None)
            self._down = Down(self.watched, exit, self)
            self._watcher.signal(self._down)


@dataclass(eq=False, slots=True)
class _Wait:
    """The interest of code that is no actor."""

    outcome: "asyncio.Future[Exit]"

    def fire(self, exit: Exit) -> None:
        if not self.outcome.done():
            self.outcome.set_result(exit)


@dataclass(frozen=True, slots=True)
class Down(Message[None]):
    """A monitored life has ended, or there was none; ``exit`` says how."""

    ref: "ActorRef"
    exit: Exit
    monitor: Monitor


@dataclass(frozen=True, slots=True)
class Exited(Message[None]):
    """To an actor with ``trap_exit``: a linked life has ended, or there was none."""

    ref: "ActorRef"
    exit: Exit


@dataclass(eq=False, slots=True)
class Bonds:
    """What ties one cell's present life to others.

    Invariant: links are kept on both sides, monitors with the watched (``monitors``) and the watcher
    (``watching``); all end with the life.
    """

    cell: "Cell"
    links: "dict[Cell, None]" = field(default_factory=dict)
    monitors: dict[Monitor | _Wait, None] = field(default_factory=dict)
    watching: dict[Monitor, None] = field(default_factory=dict)
    registered: bool = False

    def broken(self, exit: Exit) -> None:
        """The life has ended: tell all that asked to be told."""
        self.cell.bonds = None
        if self.registered:
            self.cell.system.registry.forget(self.cell)
        for own in list(self.watching):
            own.cancel()
        for monitor in self.monitors:
            monitor.fire(exit)
        for other in self.links:
            if other.bonds is not None:
                other.bonds.links.pop(self.cell, None)
            linked_ended(other, self.cell.ref, exit)


def bonds_of(cell: "Cell") -> Bonds:
    """The bonds of ``cell``, made if there are none."""
    if cell.bonds is None:
        cell.bonds = Bonds(cell)
    return cell.bonds


def monitor(watcher: "Cell", other: "ActorRef") -> Monitor:
    """Have ``watcher`` told of the end of the other's present life, at once if it has none."""
    monitor = Monitor(other, watcher)
    target = other.find_cell()
    if target is None or not _alive(target):
        monitor.fire(_nobody(other))
    else:
        bonds_of(target).monitors[monitor] = None
        bonds_of(watcher).watching[monitor] = None
    return monitor


async def ended(other: "ActorRef") -> Exit:
    """Return how the other's present life ends, when it does; at once if it has none."""
    target = other.find_cell()
    if target is None or not _alive(target):
        return _nobody(other)
    wait = _Wait(target.system.create_future())
    monitors = bonds_of(target).monitors
    monitors[wait] = None
    try:
        return await wait.outcome
    finally:
        monitors.pop(wait, None)


def link(cell: "Cell", other: "ActorRef") -> None:
    """Tie two lives together; linking twice, or to oneself, changes nothing.

    A link is to an object: a passivated actor is made anew, and is not passivated while it is linked.
    """
    target = other.find_cell()
    if target is not None and target.passivated:
        target.rouse()
    if target is None or not _alive(target):
        linked_ended(cell, other, _nobody(other))
    elif target is not cell:
        bonds_of(cell).links[target] = None
        bonds_of(target).links[cell] = None


def unlink(cell: "Cell", other: "ActorRef") -> None:
    """Untie two lives; neither hears of the other's end any more."""
    target = other.find_cell()
    if target is None:
        return
    if cell.bonds is not None:
        cell.bonds.links.pop(target, None)
    if target.bonds is not None:
        target.bonds.links.pop(cell, None)


def linked_ended(cell: "Cell", other: "ActorRef", exit: Exit) -> None:
    """What the end of ``other`` means for the life in ``cell`` that is linked to it."""
    life = cell.life or cell.starting
    if life is None:
        return
    if life.actor.trap_exit:
        cell.signal(Exited(other, exit))
    elif exit.kind == "shutdown":
        _end(life, partial(life.interrupt, exit))
    elif exit.abnormal:
        error = LinkedActorDown(f"{cell.path} is linked to {other.path}, which crashed: {exit.error}")
        error.__cause__ = exit.error
        _end(life, partial(life.crash, error))


def _end(life: "Life", end: Callable[[], None]) -> None:
    if life.lead is None:
        # A life without a task ends on the spot, and with it those linked to it: a long chain of them would
        # exhaust the stack. Nothing it does can come before this call.
        life.cell.system.loop.call_soon(end)
    else:
        end()


def _alive(cell: "Cell") -> bool:
    return cell.life is not None or cell.starting is not None or cell.passivated


def _nobody(other: "ActorRef") -> Exit:
    return Exit("error", ActorDown(f"{other.path} has no life"))
