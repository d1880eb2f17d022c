"""The base class of actors.

```python
class Counter(Actor[CounterState]):              # CounterState: a pydantic model, persisted
    @handles(Add)
    async def add(self, message: Add) -> int:
        await self.commit(self.state.model_copy(update={"total": self.state.total + message.amount}))
        return self.state.total
```
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, get_args, get_origin

from pydantic import BaseModel

from repertory.actors import bonds, timers
from repertory.actors.behaviours import BehaviourTables, Handler, tables_of
from repertory.actors.exit import NORMAL, Exit, check_exit
from repertory.actors.message import Message, handles
from repertory.actors.persistence import Persistence
from repertory.actors.residents import Idle

if TYPE_CHECKING:
    from repertory.actors.life import Life
    from repertory.actors.ref import ActorRef
    from repertory.actors.system import ActorSystem
    from repertory.store import States

StateT = TypeVar("StateT", bound=BaseModel | None)


class Actor(Generic[StateT]):
    """An object that handles one message at a time (or ``concurrency`` of them, where it was started so).

    The parameter is the model of its persisted state; ``Actor[None]`` has none. The state is loaded before
    ``started`` and changes only through ``commit`` and ``record``; a restart begins from what was last on disk.
    """

    __slots__ = ("__dict__", "__weakref__", "_life")

    expected: ClassVar[tuple[type[Exception], ...]] = ()
    """Errors that are answers: they go to the asker and do not end the life."""

    interrupt_on_stop: ClassVar[bool] = False
    """Whether a stop cancels the message being handled instead of waiting for it."""

    trap_exit: ClassVar[bool] = False
    """Whether the end of a linked actor arrives as the message `Exited` instead of ending this one."""

    stays: ClassVar[bool] = False
    """Whether it is never passivated, whatever it was started with: there is more to it than its state."""

    has_children: ClassVar[bool] = False
    """Whether it ends by ending others, each of which has a time of its own."""

    idle_after: ClassVar[float | None] = None
    """Seconds without a message after which ``idle`` is called, looked at about once a second; None: never."""

    state_model: ClassVar[type[BaseModel] | None] = None
    schema_version: ClassVar[int] = 1
    migrations: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {}
    """For each older schema version, the pure step to the next one."""

    events: ClassVar[Any] = None
    """The type, or union of types, of the events it records: pydantic models that ``apply`` understands."""

    event_migrations: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {}
    snapshot_every: ClassVar[int] = 100
    """Events after which the whole state is saved, so that the next life need not read them all."""

    handlers: ClassVar[dict[type, Handler]] = {}
    behaviours: ClassVar[BehaviourTables] = {"": {}}
    """The handlers of each behaviour, by message type, derived from the methods marked with `handles`."""

    has_started: ClassVar[bool] = False
    has_after_start: ClassVar[bool] = False
    has_stopping: ClassVar[bool] = False

    _state_variable: ClassVar[Any] = None  # stands for the model of the state in a generic class
    _life: "Life"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.behaviours = tables_of(cls)
        cls.handlers = cls.behaviours[""]
        cls.has_started = cls.started is not Actor.started
        cls.has_after_start = cls.after_start is not Actor.after_start
        cls.has_stopping = cls.stopping is not Actor.stopping
        for base in vars(cls).get("__orig_bases__", ()):
            if isinstance(origin := get_origin(base), type) and issubclass(origin, Actor):
                cls._take_state_model(origin, get_args(base))
        if cls.events is not None and cls.apply is Actor.apply:
            raise TypeError(
                f"{cls.__name__} declares events but does not define apply(state, event), which says what they do"
            )

    @classmethod
    def _take_state_model(cls, origin: "type[Actor[Any]]", arguments: tuple[Any, ...]) -> None:
        """Find the state's model, or the variable that stands for it, among a generic base's ``arguments``."""
        variables: tuple[Any, ...] = getattr(origin, "__parameters__", ())
        variable = variables[0] if origin is Actor else origin._state_variable
        if variable in variables:
            argument = arguments[variables.index(variable)]
            if isinstance(argument, TypeVar):
                cls._state_variable = argument
            elif isinstance(argument, type) and issubclass(argument, BaseModel):
                cls.state_model = argument

    # --- for subclasses to override ---

    async def started(self) -> None:
        """Called before the first message of each life; an error here fails the start (and skips ``stopping``).

        Calling ``stop()`` here says that the actor is not wanted: its supervisor goes on without it.
        """

    async def after_start(self) -> None:
        """Called after ``started``, before the first message; whoever started the actor does not wait for it."""

    async def stopping(self, exit: Exit) -> None:
        """Called at the end of each life, however it ends; let go of what ``started`` acquired."""

    async def idle(self) -> None:
        """Called when no message has come for ``idle_after`` seconds."""

    def apply(self, state: StateT, event: Any) -> StateT:
        """The state after ``event``; pure, since the same events are applied again in the next life."""
        raise TypeError(f"{type(self).__name__} declares no events")

    # --- for subclasses to use ---

    @property
    def path(self) -> str:
        """The actor's address, the same in every life."""
        return self._life.cell.path

    @property
    def ref(self) -> "ActorRef":
        """A reference to this actor that may be handed to others."""
        return self._life.cell.ref

    @property
    def incarnation(self) -> int:
        """The number of the present life, from 1."""
        return self._life.cell.incarnation

    @property
    def system(self) -> "ActorSystem":
        """The system the actor lives in."""
        return self._life.cell.system

    @property
    def state(self) -> StateT:
        """The last committed state."""
        persistence = self._life.persistence
        return persistence.state if persistence is not None else None  # type: ignore[return-value]  # None where StateT is None

    async def commit(self, state: StateT) -> None:
        """Make ``state`` the state, on disk before this returns. Raises StaleState, StoreError."""
        await self._persisted().commit(state)

    async def record(self, event: BaseModel) -> None:
        """Append ``event`` to the log, on disk before this returns, and ``apply`` it to the state.

        Raises StaleState, StoreError, and what ``apply`` raises, in which case nothing is recorded.
        """
        await self._persisted().record(event)

    async def reload(self) -> None:
        """Make what was saved last the state, be it by another process; not beside `commit` or `record`.

        Raises StoreTooNew, StoreError.
        """
        await self._persisted().load(self.migrations)

    def background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` beside the messages for as long as this life lasts; its error ends the life."""
        return self._life.run_beside(work)

    def stop(self, exit: Exit = NORMAL) -> None:
        """End this life after the current message."""
        check_exit(exit)
        self._life.finish(exit)

    def become(self, behaviour: str = "") -> None:
        """Handle later messages by methods marked ``@handles(..., when=behaviour)``, then by unconditional ones.

        Raises LookupError for a behaviour that no method names.
        """
        try:
            self._life.handlers = self.behaviours[behaviour]
        except KeyError:
            known = ", ".join(map(repr, self.behaviours))
            raise LookupError(f"{type(self).__name__} has no behaviour {behaviour!r}; it has {known}") from None
        self._life.behaviour = behaviour

    def stash(self) -> None:
        """Set the current message aside, its asker still waiting, until ``unstash``."""
        self._life.stash()

    def unstash(self) -> None:
        """Put what was stashed before all messages that wait, in the order it came."""
        self._life.unstash()

    def send_after(self, seconds: float, message: Message[Any]) -> timers.Timer:
        """Tell this actor ``message`` in ``seconds``, before what waits then.

        Not if the timer is cancelled, or this life ends, before it is handled.
        """
        return timers.start(self._life, message, seconds, every=None)

    def send_every(self, seconds: float, message: Message[Any]) -> timers.Timer:
        """Tell this actor ``message`` every ``seconds``, the first time in ``seconds``, until cancelled.

        It takes its turn behind what waits, and is left out where the one before still waits: a slow actor is not
        flooded by its own clock. Passivation waits for timers; use ``remind`` for what may be far off.
        """
        return timers.start(self._life, message, seconds, every=seconds)

    async def remind(self, name: str, *, after: float, every: float | None = None) -> None:
        """Have the message `Reminder` sent to this path in ``after`` seconds (and then ``every`` so many).

        It is on disk before this returns, and outlives this life, its rest and the process. A reminder of
        the same name is replaced. Raises StoreError.
        """
        await self.system.reminders.remind(self.path, name, after=after, every=every)

    async def forget_reminder(self, name: str) -> None:
        """Have no more reminders of this name, not even one that waits already. Raises StoreError."""
        await self.system.reminders.forget(self.path, name)

    def monitor(self, other: "ActorRef") -> bonds.Monitor:
        """Be told of the end of the other's present life, once, by the message `Down`; at once if it has none.

        ``cancel`` what it returns to hear no more. Code that is no actor awaits ``other.ended()``.
        """
        return bonds.monitor(self._life.present_cell(), other)

    def link(self, other: "ActorRef") -> None:
        """Share the fate of the other's present life: where one ends other than normally, so does the other."""
        bonds.link(self._life.present_cell(), other)

    def unlink(self, other: "ActorRef") -> None:
        """Undo ``link``."""
        if not self._life.ended:
            bonds.unlink(self._life.cell, other)

    def register(self, name: str) -> None:
        """Be found by ``name`` for as long as this life lasts. Raises NameTaken."""
        self.system.registry.register(name, self._life.present_cell().ref)

    def join(self, group: str) -> None:
        """Be a member of ``group`` for as long as this life lasts."""
        self.system.registry.join(group, self._life.present_cell().ref)

    def leave(self, group: str) -> None:
        """Be a member of ``group`` no more."""
        if not self._life.ended:
            self.system.registry.leave(group, self.ref)

    # --- what the system tells it ---

    @handles(Idle)
    async def _idle(self, message: Idle) -> None:
        await self.idle()

    # --- for its life ---

    def new_persistence(self, states: "States") -> Persistence[Any]:
        """What keeps this life's state."""
        assert self.state_model is not None
        return Persistence(
            states,
            self.path,
            self.state_model,
            self.schema_version,
            events=self.events,
            event_migrations=self.event_migrations,
            apply=self.apply,
            snapshot_every=self.snapshot_every,
        )

    def _persisted(self) -> Persistence[Any]:
        if self._life.persistence is None:
            raise TypeError(f"{type(self).__name__} declares no state: derive it from Actor[YourState]")
        return self._life.persistence
