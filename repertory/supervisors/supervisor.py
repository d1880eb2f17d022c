"""The supervisor: an actor whose work is to keep its children alive.

Semantics: Erlang/OTP ``supervisor``. What is to be done when a child ends is decided in `Restarts`; here it is
done. Since a supervisor is an actor, trees are supervisors as children.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import ClassVar

from repertory.actors import SHUTDOWN, ActorRef, Cell, Exit, Message, handles
from repertory.actors.spec import refuse
from repertory.errors import (
    ChildLimitReached,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    ConfigError,
    NameTaken,
    RestartLimitReached,
    StartFailed,
)
from repertory.events import ActorRestarted, RestartFailed, SupervisorGaveUp
from repertory.supervisors.backoff import Backoff
from repertory.supervisors.child import ChildSpec
from repertory.supervisors.decision import (
    AutoShutdown,
    Plan,
    Restarts,
    Strategy,
    check_flags,
    check_significance,
)
from repertory.supervisors.intensity import RestartIntensity
from repertory.supervisors.messages import (
    ChildCounts,
    ChildInfo,
    CountChildren,
    DeleteChild,
    GetChildSpec,
    RestartChild,
    StartChild,
    StopChild,
    TerminateChild,
    WhichChildren,
)
from repertory.supervisors.parent import Parent


@dataclass(slots=True, eq=False)
class _ChildEnded(Message[None]):
    id: str
    cell: Cell
    incarnation: int
    exit: Exit
    at: float


@dataclass(frozen=True, slots=True)
class _End:
    """What restarts follow from: the end of ``id``, by ``exit``, at ``at`` on the clock."""

    id: str
    exit: Exit
    at: float


@dataclass(frozen=True, slots=True)
class _RestartAgain(Message[None]):
    id: str
    end: _End


class Supervisor(Parent):
    """Starts its children in order, restarts them by its strategy, and stops them in reverse order.

    More than ``intensity`` restarts within ``period`` seconds, and it stops all children and ends with a
    shutdown; its own supervisor then decides.

    Args:
        children: Started with the supervisor; one that cannot start fails it, after those before it have
            been stopped again.
        strategy: Who is restarted when a child is: ``one_for_one`` only this one, ``one_for_all`` all children,
            ``rest_for_one`` this one and those started after it.
        auto_shutdown: Whether it ends when ``any_significant`` or ``all_significant`` children have ended by
            themselves and are not restarted.
        backoff: Waits between a child's end and its restart; None: it is restarted at once.
        rng: The chance in these waits; by default seeded by the path.

    Raises ConfigError naming the argument, NameTaken for two children of one id.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = (
        NameTaken,
        StartFailed,
        ConfigError,
        ChildNotFound,
        ChildRunning,
        ChildRestarting,
        ChildLimitReached,
    )
    interrupt_on_stop: ClassVar[bool] = True
    keeps_stopped: ClassVar[bool] = True
    """Whether a child that has stopped for good stays known, to be started again on request."""

    def __init__(
        self,
        children: Sequence[ChildSpec] = (),
        *,
        strategy: Strategy = "one_for_one",
        intensity: int = 5,
        period: float = 10.0,
        auto_shutdown: AutoShutdown = "never",
        backoff: Backoff | None = None,
        rng: Random | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        check_flags(name, strategy, auto_shutdown, intensity, period)
        if backoff is not None and not isinstance(backoff, Backoff):
            refuse(name, "backoff", backoff, "a Backoff, or None")
        self._children = _check_children(name, children, auto_shutdown)
        self._strategy = strategy
        self._limit = intensity
        self._period = period
        self._auto_shutdown = auto_shutdown
        self._backoff = backoff
        self._rng = rng

    # --- its life ---

    async def started(self) -> None:
        """Start the static children."""
        if isinstance(keeper := self._life.cell.keeper, Parent):
            keeper.has_supervisor(self._life.cell.id)
        self._prefix = f"{self.path}/"
        self._restarts = Restarts(
            RestartIntensity(self._limit, self._period, self.system.clock),
            strategy=self._strategy,
            auto_shutdown=self._auto_shutdown,
            keeps=self.keeps_stopped,
        )
        if self._rng is None:
            self._rng = Random(zlib.crc32(self.path.encode()))
        try:
            for spec in self._children:
                await self._add(spec.id, spec)
        except BaseException:
            await self._stop_children()
            raise

    async def stopping(self, exit: Exit) -> None:
        """Stop all children."""
        await self._stop_children()

    def child_ended(self, cell: Cell, exit: Exit) -> None:
        """A child's life has ended by itself."""
        ended = _ChildEnded(cell.id, cell, cell.incarnation, exit, self.system.clock.monotonic())
        self._life.cell.signal(ended)

    # --- requests ---

    @handles(StartChild)
    async def start_child(self, message: StartChild) -> ActorRef:
        """Start a further child."""
        spec = message.spec
        if spec is None or message.id is not None or message.args:
            raise ConfigError(
                f"{self.path}: StartChild has spec = {spec!r}, id = {message.id!r}, args = {message.args!r}",
                hint="Pass a spec alone: only a DynamicSupervisor has a template to make children by id.",
            )
        check_significance(self.path, spec.id, spec, self._auto_shutdown)
        return (await self._add(spec.id, spec)).ref

    @handles(TerminateChild)
    async def terminate_child(self, message: TerminateChild) -> None:
        """Stop a child and keep its specification."""
        self._find(message.id)
        await self._terminate(message.id)

    @handles(RestartChild)
    async def restart_child(self, message: RestartChild) -> ActorRef:
        """Start a child that is stopped."""
        id = self._find_stopped(message.id, "restarted by request")
        try:
            await self._begin(id)
        except BaseException:
            self._cells[id].close()
            raise
        return self._cells[id].ref

    @handles(DeleteChild)
    async def delete_child(self, message: DeleteChild) -> None:
        """Forget a child that is stopped."""
        self._forget(self._find_stopped(message.id, "deleted"))

    @handles(StopChild)
    async def stop_child(self, message: StopChild) -> bool:
        """Stop a child and forget it."""
        if message.id not in self._cells:
            return False
        try:
            await self._terminate(message.id)
        finally:
            if message.id in self._cells and self._restarts.standing(message.id) == "stopped":
                self._forget(message.id)
        return True

    @handles(WhichChildren)
    async def which_children(self, message: WhichChildren) -> tuple[ChildInfo, ...]:
        """Describe the children."""
        return tuple(self._describe(id, cell) for id, cell in self._cells.items())

    @handles(CountChildren)
    async def count_children(self, message: CountChildren) -> ChildCounts:
        """Count the children."""
        specs, supervisors = len(self._cells), len(self._supervisors)
        return ChildCounts(specs, self._restarts.running, supervisors, specs - supervisors)

    @handles(GetChildSpec)
    async def get_child_spec(self, message: GetChildSpec) -> ChildSpec:
        """Return a child's specification."""
        self._find(message.id)
        spec = self._restarts.specs[message.id]
        return spec if spec.id == message.id else replace(spec, id=message.id)

    # --- ends of children ---

    @handles(_ChildEnded)
    async def _child_ended(self, message: _ChildEnded) -> None:
        id, cell, exit = message.id, message.cell, message.exit
        if (
            self._cells.get(id) is not cell
            or cell.incarnation != message.incarnation
            or self._restarts.standing(id) != "running"
        ):  # meanwhile it was stopped, or restarted together with a sibling
            return
        record = self._record_of(id)
        record.last_error = exit.error
        plan = self._restarts.ended(id, exit, later=self._backoff is not None)
        await self._follow(plan, id, _End(id, exit, message.at))

    @handles(_RestartAgain)
    async def _restart_again(self, message: _RestartAgain) -> None:
        if message.id not in self._retries:  # meanwhile it was stopped, or restarted otherwise
            return
        del self._retries[message.id]
        plan = self._restarts.resume(message.id)
        await self._follow(plan, message.id, message.end)

    async def _follow(self, plan: Plan, id: str, end: _End) -> None:
        """Do as planned for ``id``, which has ended, or could not be started in consequence of ``end``."""
        for other in plan.stop:
            await self._end_sibling(other, for_good=other not in self._restarts.specs)
        if id in plan.forget:
            self._forget(id)
        elif plan.keep is not None:
            self._cells[id].close()
        for other in plan.start:
            record = self._record_of(other)
            record.restarts += 1
            try:
                await self._begin(other)
            except (StartFailed, NameTaken) as error:
                await self._start_failed(other, error, plan, end)
                return
            record.restarted_at = self.system.clock.monotonic()
        if plan.start and self.system.hooks:
            self._report_restart(end)
        if plan.later is not None:
            self._try_later(plan.later, end)
        if plan.end == "give_up":
            self._give_up(id)
        elif plan.end == "shut_down":
            self.stop(SHUTDOWN)

    async def _start_failed(self, id: str, error: StartFailed | NameTaken, plan: Plan, end: _End) -> None:
        record = self._record_of(id)
        record.last_error = error
        record.restarted_at = None
        if self.system.hooks:
            self.system.hooks.emit(RestartFailed(self._prefix + id, error))
        following = self._restarts.start_failed(id, plan)
        for other in plan.start:  # those behind it wait for its restart, not for one of their own
            self._drop_retry(other)
        await self._follow(following, id, end)

    def _report_restart(self, end: _End) -> None:
        """Tell of the restart of the child that ended, once for its group."""
        cell = self._cells.get(end.id)
        if (
            cell is not None and self._restarts.standing(end.id) == "running"
        ):  # else stopped meanwhile, or unwanted
            waited = self.system.clock.monotonic() - end.at
            self.system.hooks.emit(ActorRestarted(cell.path, cell.incarnation, end.exit.error, waited))

    def _try_later(self, id: str, end: _End) -> None:
        """Restart ``id`` after what else waits for this supervisor, or after a wait."""
        again = _RestartAgain(id, end)
        if self._backoff is None:
            self._retries[id] = None
            self._life.cell.defer(again)
            return
        assert self._rng is not None
        record = self._record_of(id)
        if record.restarted_at is not None:
            lived = self.system.clock.monotonic() - record.restarted_at
            record.streak = self._backoff.streak(record.streak, lived)
        delay = self._backoff.delay(record.streak, self._rng)
        record.streak += 1
        self._retries[id] = self.send_after(delay, again)

    def _give_up(self, id: str) -> None:
        cause = self._record_of(id).last_error
        if self.system.hooks:
            self.system.hooks.emit(SupervisorGaveUp(self.path, cause))
        error = RestartLimitReached(
            f"{self.path}: more than {self._limit} restarts in {self._period:g} s; the last one of {id!r}",
            hint="The cause is in the last error. If it passes by itself, give the supervisor a backoff.",
        )
        error.__cause__ = cause
        self.stop(Exit("shutdown", error))

    def _find(self, id: str) -> Cell:
        cell = self._cells.get(id)
        if cell is None:
            raise ChildNotFound(f"{self.path} has no child {id!r}", hint="WhichChildren tells which there are.")
        return cell

    def _find_stopped(self, id: str, what: str) -> str:
        """Raise unless the child is stopped, so that it can be ``what``."""
        self._find(id)
        standing = self._restarts.standing(id)
        if standing == "running":
            raise ChildRunning(
                f"{self._prefix}{id} is running: it cannot be {what}", hint="Send TerminateChild first."
            )
        if standing == "restarting":
            raise ChildRestarting(
                f"{self._prefix}{id} is about to be restarted: it cannot be {what}",
                hint="Send TerminateChild first, or wait until it runs.",
            )
        return id


def _check_children(
    owner: str, children: Sequence[ChildSpec], auto_shutdown: AutoShutdown
) -> tuple[ChildSpec, ...]:
    given: object = children  # one spec, without a list around it, is an easy mistake
    if not isinstance(given, Sequence):
        refuse(owner, "children", given, "a list of ChildSpec")
    ids = set()
    for number, spec in enumerate(children):
        if not isinstance(spec, ChildSpec):
            refuse(owner, f"children[{number}]", spec, "a ChildSpec")
        check_significance(owner, spec.id, spec, auto_shutdown)
        if spec.id in ids:
            raise NameTaken(f"{owner}: two children are called {spec.id!r}", hint="Give each its own id.")
        ids.add(spec.id)
    return tuple(children)
