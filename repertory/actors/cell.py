"""A cell: the place at a path where one actor lives its successive lives.

The cell keeps what outlives a life (path, mailbox, incarnation number); `Life` is one actor object with the
tasks that run it.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from repertory.actors.envelope import Envelope
from repertory.actors.exit import PASSIVATED, SHUTDOWN, Exit
from repertory.actors.info import ActorInfo
from repertory.actors.life import HURRY, Life
from repertory.actors.mailbox import Mailbox
from repertory.actors.ref import ActorRef
from repertory.actors.spec import ActorSpec
from repertory.errors import StartFailed
from repertory.events import ActorCrashed, ActorPassivated, ActorStarted, ActorStopped, StuckChild

if TYPE_CHECKING:
    from repertory.actors.actor import Actor
    from repertory.actors.bonds import Bonds
    from repertory.actors.runner import Runner
    from repertory.actors.system import ActorSystem

BETWEEN_LIVES = 1 << 30  # what being between two lives adds to the pressure on a cell


class Keeper(Protocol):
    """Who decides what follows the end of a life: a supervisor, or the system itself."""

    def child_ended(self, cell: "Cell", exit: Exit) -> None:
        """A life in ``cell`` has ended other than by the keeper's own doing; it must not wait for anything."""
        ...


class Cell(Mailbox):
    """One address and its mailbox.

    Invariants: at most one life is attached; messages wait between lives; once closed the cell has no life, no
    message waits in it, and its path is free.

    Attributes:
        life: The one that takes messages.
        starting: The one that is yet to.
    """

    __slots__ = ("bonds", "incarnation", "keeper", "life", "starting")

    def __init__(self, system: "ActorSystem", path: str, spec: ActorSpec, keeper: Keeper) -> None:
        super().__init__(system, path, spec)
        self.keeper = keeper
        self.incarnation = 0
        self.life: Life | None = None
        self.starting: Life | None = None
        self.bonds: Bonds | None = None

    # --- what can be seen of it ---

    @property
    def id(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def ref(self) -> ActorRef:
        """A reference to this cell's path."""
        return ActorRef(self.system, self.path, self)

    @property
    def actor(self) -> "Actor[Any] | None":
        """The object that lives here now."""
        return self.life.actor if self.life is not None else None

    @property
    def running(self) -> bool:
        """Whether a life takes messages and is not about to end."""
        return self.life is not None and self.life.exit is None

    @property
    def runners(self) -> "list[Runner]":
        """Who is at work in its life, or begins it."""
        life = self.life or self.starting
        return life.runners if life is not None else []

    @property
    def runners_in_the_way(self) -> "list[Runner]":
        """For whom a further message has to wait, whatever they wait for themselves.

        With several handlers at a time there is nobody, but where the life takes no messages: in its start, before
        its runners and those that may still be made add up to that number, and at its end.
        """
        life = self.life
        attends = life is not None and life.exit is None and self.free + len(life.runners) >= self.spec.concurrency
        return [] if attends and self.spec.concurrency > 1 else self.runners

    @property
    def passivated(self) -> bool:
        """Whether the next message will begin a life."""
        return self.life is None and self.free > 0

    @property
    def has_life(self) -> bool:
        """Whether there is an object, at work or yet to start."""
        return self.life is not None or self.starting is not None

    @property
    def has_children(self) -> bool:
        """Whether the actor that lives here is a supervisor."""
        life = self.life or self.starting
        return life is not None and life.actor.has_children

    @property
    def dispensable(self) -> bool:
        """Whether its life may be dropped now."""
        return self.life is not None and self.life.dispensable

    @property
    def load(self) -> int:
        """Messages waiting, set aside or being handled."""
        return self.depth + (len(self.life.handling) + self.life.set_aside if self.life is not None else 0)

    @property
    def pressure(self) -> int:
        """Its load, as far as that can be told without a look at each runner: one just woken counts twice.

        One between two lives counts as busy: its messages wait, those of others do not.
        """
        waiting = self.depth if self.crowd is not None else len(self.mailbox or ()) - self.withdrawn
        life = self.life
        if life is None or life.exit is not None:
            waiting += BETWEEN_LIVES
            if life is None:
                return waiting
        at_work = len(life.runners) - len(self.parked or ())
        return waiting + at_work + (life.set_aside if life.stashed else 0)

    def info(
        self,
        *,
        state: str | None = None,
        restarts: int = 0,
        last_error: BaseException | None = None,
        children: "tuple[ActorInfo, ...]" = (),
    ) -> ActorInfo:
        """This actor as data; its keeper may know more than the cell."""
        life = self.life or self.starting
        messages = [item.message if type(item) is Envelope else item for item in (life.handling if life else ())]
        began_at = life.began_at if life is not None else None
        return ActorInfo(
            path=self.path,
            kind=type(life.actor).__name__ if life is not None else "",
            state=state or self._state(),
            incarnation=self.incarnation,
            restarts=restarts,
            age=self.system.clock.monotonic() - began_at if began_at is not None else None,
            mailbox=self.stats,
            handling=tuple(type(message).__name__ for message in messages),
            last_error=f"{type(last_error).__name__}: {last_error}" if last_error is not None else None,
            children=children,
        )

    def _state(self) -> str:
        if self.life is not None:
            return "running" if self.life.exit is None else "stopping"
        if self.starting is not None:
            return "starting"
        return "passivated" if self.passivated else "stopped"

    # --- lives ---

    async def start(self) -> bool:
        """Begin a new life; return True when it takes messages, False if the actor said it is not wanted.

        The first life of a lazy actor begins with its first message. Nothing is waited for where nothing in
        the start needs to be. Raises StartFailed with the cause if ``started`` raises or takes too long.
        """
        if self.spec.lazy and self.incarnation == 0:
            self.free = 1
            if self.mailbox or self.signals:
                self.rouse()
            return True
        if self._begin():
            return True
        ready: asyncio.Future[bool] = self.system.create_future()
        life = self.starting
        assert life is not None
        life.ready = ready
        try:
            return await ready
        except asyncio.CancelledError:
            life.unkept = True  # who is cancelled while it waits for a start undoes it
            life.interrupt(SHUTDOWN)
            try:
                await life.wait_over(None)
            finally:
                life.force(SHUTDOWN)
            raise

    async def stop(self, exit: Exit, timeout: float | None) -> Exit:
        """End the current life, if any, and close the cell; return how it ended in the end.

        The life may finish the message it is at work on for ``timeout`` seconds (None: as long as it takes; 0:
        it may not), then it is cancelled; one that withstands even that is reported as `StuckChild` and left
        behind. Cancelling the caller has it end at once.
        """
        try:
            return await self.end(exit, timeout)
        except asyncio.CancelledError:
            await self.end(exit, 0)
            raise
        finally:
            self.close()

    async def end(self, exit: Exit, timeout: float | None) -> Exit:
        """End the current life, as `stop`, but keep the cell and what waits in it; the keeper is not told.

        Cancelling the caller changes nothing for the life: it goes on ending.
        """
        life = self.life or self.starting
        self.free = 0
        if life is None:
            self._over(exit)  # a passivated actor has bonds
            return exit
        life.unkept = True
        await life.stop(exit, timeout)
        return life.exit or exit

    def force(self, exit: Exit) -> None:
        """End the current life at once, if any, even its ``stopping``; the keeper is not told."""
        self.free = 0
        if (life := self.life or self.starting) is not None:
            life.unkept = True
            life.force(exit)

    def kill(self, error: BaseException) -> None:
        """End the current life, or its start, or its rest, as a crash with ``error``."""
        life = self.life or self.starting
        if life is not None:
            life.crash(error)
        elif self.passivated:
            self._end_rest(Exit("error", error))

    async def end_life(self, exit: Exit, timeout: float | None) -> None:
        """End the current life, or its start, or its rest, as its keeper has not asked for: who then is told."""
        life = self.life or self.starting
        if life is None:
            if self.passivated:
                self._end_rest(exit)
            return
        try:
            await life.stop(exit, timeout)
        except asyncio.CancelledError:
            life.force(exit)
            await life.wait_over(HURRY)
            raise

    def passivate(self) -> None:
        """Drop the object, if it has nothing to do; the next message makes it anew."""
        if self.life is not None and self.life.dispensable:
            self.life.finish(PASSIVATED)

    def close(self) -> None:
        """Take no more messages; whoever waits for one of them gets ActorDown."""
        if self.closed:
            return
        self.closed = True
        self.free = 0
        self.signals = None
        self.turn_away(self.surrender())
        self.system.forget(self)
        self._over(SHUTDOWN)

    def rouse(self) -> None:
        """A message waits for which there is no runner yet."""
        if self.life is not None:
            self.life.add_runner()
        else:
            self._activate()

    def _begin(self) -> bool:
        self.incarnation += 1
        self.free = 0
        try:
            life = self.starting = Life(self)
        except Exception as error:
            failure = self._start_failed(error)
            self._over(Exit("error", failure))
            raise failure from error
        return life.begin()

    def _activate(self) -> None:
        """Begin a life because a message has come; nobody waits for it to have begun."""
        try:
            self.system.run_apart(self._begin)
        except StartFailed as error:
            self.keeper.child_ended(self, Exit("error", error))

    def _start_failed(self, error: BaseException) -> StartFailed:
        failure = StartFailed(f"{self.path} did not start: {error}")
        failure.__cause__ = error
        return failure

    # --- called by the life ---

    def began(self, life: Life) -> None:
        """``life`` finished ``started``."""
        self.life = life
        self.starting = None
        if self.system.hooks:
            self.system.hooks.emit(ActorStarted(self.path, self.incarnation))
        if life.ready is not None and not life.ready.done():
            life.ready.set_result(True)
        if self.spec.passivate_after is not None:
            self.system.residents.came()

    def not_begun(self, life: Life, error: BaseException) -> None:
        """``life`` will never take messages."""
        if self.starting is not life:
            return
        self.starting = None
        failure = self._start_failed(error)
        self._over(Exit("error", failure))
        if life.ready is None:
            if not life.unkept:
                self.keeper.child_ended(self, Exit("error", failure))
        elif not life.ready.done():
            life.ready.set_exception(failure)
            life.ready.exception()  # seen: whoever started the cell may have been cancelled

    def ignored(self, life: Life) -> None:
        """``life`` stopped itself while it started: the actor is not wanted."""
        self.starting = None
        self._over(life.exit or SHUTDOWN)
        if life.ready is None:
            if not life.unkept:
                self.keeper.child_ended(self, life.exit or SHUTDOWN)
        elif not life.ready.done():
            life.ready.set_result(False)

    def rests(self) -> None:
        """The life has no task any more; it has nothing to do."""
        self.parked = None
        if not self.mailbox:
            self.mailbox = None
        if not self.signals:
            self.signals = None
        self.free = self.spec.concurrency
        if self.spec.passivate_after is not None:
            self.system.residents.rests(self, self.spec.passivate_after)

    def report_stuck(self) -> None:
        """Part of the current life withstands its cancellation."""
        if self.system.hooks:
            self.system.hooks.emit(StuckChild(self.path, self.incarnation))

    def ended(self, life: Life, exit: Exit) -> None:
        """``life``, which had begun, has let go of everything."""
        if self.life is not life:
            return
        self.life = None
        self.parked = None
        if self.spec.passivate_after is not None:
            self.system.residents.went(self, self.spec.passivate_after)
        hooks = self.system.hooks
        if exit.kind == "passivated":
            self._passivated(life)
            return
        if hooks:
            if exit.abnormal and exit.error is not None:
                hooks.emit(ActorCrashed(self.path, self.incarnation, exit.error))
            else:
                hooks.emit(ActorStopped(self.path, self.incarnation))
        self._over(exit)
        if not life.unkept:
            self.keeper.child_ended(self, exit)

    def _end_rest(self, exit: Exit) -> None:
        """A passivated actor is not to come back by itself."""
        self.free = 0
        self._over(exit)
        self.keeper.child_ended(self, exit)

    def _over(self, exit: Exit) -> None:
        """A life, at work or passivated, is no more: what it was to be told does not concern the next one."""
        self.signals = None
        if self.bonds is not None:
            self.bonds.broken(exit)

    def _passivated(self, life: Life) -> None:
        if self.system.hooks:
            self.system.hooks.emit(ActorPassivated(self.path, self.incarnation))
        if life.unkept:
            self._over(SHUTDOWN)
            return
        self.free = 1
        linked = self.bonds is not None and self.bonds.links  # a link is to an object
        if self.mailbox or self.signals or linked:  # it came while the object was being dropped
            self.rouse()
        else:
            self.mailbox = self.signals = None
