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
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, get_args

from pydantic import BaseModel

from repertory.actors.exit import NORMAL, Exit
from repertory.actors.persistence import Persistence

if TYPE_CHECKING:
    from repertory.actors.cell import Cell
    from repertory.actors.life import Life
    from repertory.actors.ref import ActorRef
    from repertory.actors.system import ActorSystem

StateT = TypeVar("StateT", bound=BaseModel | None)


class Actor(Generic[StateT]):
    """An object that handles one message at a time (or ``concurrency`` of them, where it was started so).

    The parameter is the model of its persisted state; ``Actor[None]`` has none. The state is loaded before
    ``started`` and changes only through ``commit``; a restart begins from the last commit.
    """

    expected: ClassVar[tuple[type[Exception], ...]] = ()
    """Errors that are answers: they go to the asker and do not end the life."""

    interrupt_on_stop: ClassVar[bool] = False
    """Whether a stop cancels the message being handled instead of waiting for it."""

    state_model: ClassVar[type[BaseModel] | None] = None
    schema_version: ClassVar[int] = 1
    migrations: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {}
    """For each older schema version, the pure step to the next one."""

    handlers: ClassVar[dict[type, Callable[[Any, Any], Coroutine[Any, Any, Any]]]] = {}
    """By message type, derived from the methods marked with `handles`; an override needs no second mark."""

    _cell: "Cell"
    _life: "Life"
    _persistence: "Persistence[Any] | None" = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        marked = {
            message_type: name
            for ancestor in reversed(cls.__mro__)
            for name, member in vars(ancestor).items()
            if (message_type := getattr(member, "__handles__", None)) is not None
        }
        cls.handlers = {message_type: getattr(cls, name) for message_type, name in marked.items()}
        for base in getattr(cls, "__orig_bases__", ()):
            for argument in get_args(base):
                if isinstance(argument, type) and issubclass(argument, BaseModel):
                    cls.state_model = argument

    # --- for subclasses to override ---

    async def started(self) -> None:
        """Called before the first message of each life; an error here fails the start (and skips ``stopping``)."""

    async def stopping(self, exit: Exit) -> None:
        """Called at the end of each life, however it ends; let go of what ``started`` acquired."""

    # --- for subclasses to use ---

    @property
    def path(self) -> str:
        """The actor's address, the same in every life."""
        return self._cell.path

    @property
    def ref(self) -> "ActorRef":
        """A reference to this actor that may be handed to others."""
        return self._cell.ref

    @property
    def system(self) -> "ActorSystem":
        """The system the actor lives in."""
        return self._cell.system

    @property
    def state(self) -> StateT:
        """The last committed state."""
        return self._persistence.state if self._persistence is not None else None  # type: ignore[return-value]  # None where StateT is None

    async def commit(self, state: StateT) -> None:
        """Make ``state`` the state, on disk before this returns. Raises StaleState, StoreError."""
        if self._persistence is None:
            raise TypeError(f"{type(self).__name__} declares no state: derive it from Actor[YourState]")
        await self._persistence.commit(state)

    def background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work`` beside the messages for as long as this life lasts; its error ends the life."""
        return self._life.background(work)

    def stop(self, exit: Exit = NORMAL) -> None:
        """End this life after the current message."""
        self._life.finish(exit)
