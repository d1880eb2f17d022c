"""The one_for_one supervisor: a child that ends is restarted by itself, the others go on.

Semantics: Erlang/OTP ``supervisor``. A supervisor is an actor, so trees are supervisors as children.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from repertory.actors import Actor, ActorRef, Cell, Exit, Message, handles
from repertory.actors.exit import SHUTDOWN
from repertory.errors import ActorDown, ConfigError, NameTaken, RestartLimitReached, StartFailed
from repertory.events import ActorRestarted, RestartFailed, SupervisorGaveUp
from repertory.supervisors.child import ChildSpec
from repertory.supervisors.intensity import RestartIntensity

ChildStatus: TypeAlias = Literal["running", "restarting", "stopped"]


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """One child as its supervisor sees it."""

    id: str
    path: str
    status: ChildStatus
    restarts: int
    load: int  # messages waiting or being handled
    last_error: BaseException | None


@dataclass(frozen=True, slots=True)
class StartChild(Message[ActorRef]):
    """Start a further child. The reply fails with NameTaken or StartFailed."""

    spec: ChildSpec


@dataclass(frozen=True, slots=True)
class StopChild(Message[bool]):
    """Stop a child and forget it; the reply says whether there was one."""

    id: str


@dataclass(frozen=True, slots=True)
class WhichChildren(Message[tuple[ChildInfo, ...]]):
    """The children, in start order."""


@dataclass(frozen=True, slots=True)
class _ChildExited(Message[None]):
    cell: Cell
    exit: Exit
    at: float


@dataclass(frozen=True, slots=True)
class _RestartAgain(Message[None]):
    child: "_Child"
    exit: Exit
    since: float


@dataclass(slots=True, eq=False)
class _Child:
    spec: ChildSpec
    cell: Cell
    status: ChildStatus = "stopped"
    restarts: int = 0
    last_error: BaseException | None = None


class Supervisor(Actor[None]):
    """Starts its children in order, restarts them one for one, and stops them in reverse order.

    More than ``intensity`` restarts within ``period`` seconds, and it stops all children and ends with a
    shutdown; its own supervisor then decides.

    Args:
        children: Started with the supervisor; one that cannot start fails it, after those before it have
            been stopped again.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = (NameTaken, StartFailed)
    interrupt_on_stop: ClassVar[bool] = True

    def __init__(self, children: Sequence[ChildSpec] = (), *, intensity: int = 5, period: float = 10.0) -> None:
        if intensity < 0:
            raise ConfigError(f"Supervisor: intensity = {intensity!r}", hint="It must be 0 or more.")
        if period <= 0:
            raise ConfigError(f"Supervisor: period = {period!r}", hint="It must be seconds above 0.")
        self._specs = tuple(children)
        self._limit = intensity
        self._period = period
        self._children: dict[str, _Child] = {}
        self._intensity: RestartIntensity

    async def started(self) -> None:
        """Start the static children."""
        self._intensity = RestartIntensity(self._limit, self._period, self.system.clock)
        try:
            for spec in self._specs:
                await self._start_child(spec)
        except BaseException:
            await self._stop_children()
            raise

    async def stopping(self, exit: Exit) -> None:
        """Stop all children."""
        await self._stop_children()

    @handles(StartChild)
    async def start_child(self, message: StartChild) -> ActorRef:
        """Start a further child."""
        child = await self._start_child(message.spec)
        return child.cell.ref

    @handles(StopChild)
    async def stop_child(self, message: StopChild) -> bool:
        """Stop a child and forget it."""
        child = self._children.pop(message.id, None)
        if child is None:
            return False
        await child.cell.stop(SHUTDOWN, child.spec.shutdown)
        return True

    @handles(WhichChildren)
    async def which_children(self, message: WhichChildren) -> tuple[ChildInfo, ...]:
        """Describe the children."""
        return tuple(
            ChildInfo(id, child.cell.path, child.status, child.restarts, child.cell.load, child.last_error)
            for id, child in self._children.items()
        )

    @handles(_ChildExited)
    async def _child_exited(self, message: _ChildExited) -> None:
        child = self._child_of(message.cell)
        if child is None:  # stopped on purpose
            return
        child.last_error = message.exit.error
        if child.spec.restarts_after(message.exit):
            await self._restart(child, message.exit, message.at)
        else:
            child.cell.close()
            child.status = "stopped"
            if child.spec.restart == "temporary":
                del self._children[child.spec.id]

    @handles(_RestartAgain)
    async def _restart_again(self, message: _RestartAgain) -> None:
        if self._child_of(message.child.cell) is message.child:
            await self._restart(message.child, message.exit, message.since)

    async def _restart(self, child: _Child, exit: Exit, since: float) -> None:
        hooks = self.system.hooks
        if not self._intensity.record():
            self._give_up(child)
            return
        child.status = "restarting"
        child.restarts += 1
        try:
            await child.cell.start(child.spec.start_timeout)
        except StartFailed as error:
            child.last_error = error
            if hooks:
                hooks.emit(RestartFailed(child.cell.path, error))
            # Not at once: between two tries the supervisor answers what else waits for it.
            self._cell.defer(_RestartAgain(child, exit, since))
            return
        child.status = "running"
        if hooks:
            waited = self.system.clock.monotonic() - since
            hooks.emit(ActorRestarted(child.cell.path, child.cell.incarnation, exit.error, waited))

    def _give_up(self, child: _Child) -> None:
        if self.system.hooks:
            self.system.hooks.emit(SupervisorGaveUp(self.path, child.last_error))
        error = RestartLimitReached(
            f"{self.path}: more than {self._limit} restarts in {self._period:g} s; "
            f"the last one of {child.spec.id!r}",
            hint="The cause is in the last error; a restart cannot mend it.",
        )
        error.__cause__ = child.last_error
        self.stop(Exit("shutdown", error))

    async def _start_child(self, spec: ChildSpec) -> _Child:
        if spec.id in self._children:
            raise NameTaken(f"{self.path} has a child {spec.id!r} already", hint="Give each child its own id.")
        cell = self.system.new_cell(
            f"{self.path}/{spec.id}",
            spec.start,
            concurrency=spec.concurrency,
            capacity=spec.mailbox,
            on_exit=self._on_exit,
        )
        child = self._children[spec.id] = _Child(spec, cell)
        try:
            await cell.start(spec.start_timeout)
        except BaseException:
            del self._children[spec.id]
            cell.close()
            raise
        child.status = "running"
        return child

    async def _stop_children(self) -> None:
        try:
            while self._children:
                _, child = self._children.popitem()
                await child.cell.stop(SHUTDOWN, child.spec.shutdown)
        finally:
            # Only a stop that is itself cut short leaves some: they must not outlive their supervisor.
            for child in self._children.values():
                child.cell.kill(ActorDown(f"{self.path} was killed"))
                child.cell.close()

    def _on_exit(self, cell: Cell, exit: Exit) -> None:
        self._cell.signal(_ChildExited(cell, exit, self.system.clock.monotonic()))

    def _child_of(self, cell: Cell) -> _Child | None:
        child = self._children.get(cell.path.rpartition("/")[2])
        return child if child is not None and child.cell is cell else None
