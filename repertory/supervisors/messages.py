"""What can be asked of a supervisor."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from repertory.actors import ActorRef, Message
from repertory.errors import ConfigError
from repertory.supervisors.child import ChildSpec

ChildStatus: TypeAlias = Literal["running", "passivated", "restarting", "waiting", "stopped"]


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """One child as its supervisor sees it.

    Attributes:
        status: ``passivated`` rests until its next message; ``restarting`` is between two lives; ``waiting`` too,
            until a sibling that is restarting has started; ``stopped`` has none and will get none by itself.
        restarts: How often its supervisor has tried to start it again.
        load: Messages waiting or being handled.
        last_error: What its last life ended by, or could not begin by.
    """

    id: str
    path: str
    kind: Literal["worker", "supervisor"]
    status: ChildStatus
    restarts: int
    load: int
    last_error: BaseException | None


@dataclass(frozen=True, slots=True)
class ChildCounts:
    """How many children a supervisor has.

    Attributes:
        specs: All of them.
        active: Those that take messages, passivated ones included.
        supervisors: Those that are supervisors, active or not.
        workers: All others, active or not.
    """

    specs: int
    active: int
    supervisors: int
    workers: int


@dataclass(frozen=True, slots=True)
class StartChild(Message[ActorRef]):
    """Start a further child; the reply is its address.

    Where the child stopped itself in ``started``, to say that it is not wanted, nobody lives at that address.

    Args:
        spec: What to start; None where a `DynamicSupervisor` has a template.
        id: The id of a child made by a template; None: a number.
        args: What the template's ``start`` is called with.

    Fails with NameTaken, StartFailed, ChildLimitReached, or ConfigError where this supervisor cannot run it.
    """

    spec: ChildSpec | None = None
    id: str | None = None
    args: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        given: object = self.spec  # `StartChild("ann")` is an easy mistake
        if not (given is None or isinstance(given, ChildSpec)):
            raise ConfigError(
                f"StartChild: spec = {given!r}",
                hint="It must be a ChildSpec; name other arguments: StartChild(id=...).",
            )
        if self.id is not None:
            _check_id(self, self.id)


@dataclass(frozen=True, slots=True)
class TerminateChild(Message[None]):
    """Stop a child; its specification is kept unless it is temporary. Fails with ChildNotFound."""

    id: str

    def __post_init__(self) -> None:
        _check_id(self, self.id)


@dataclass(frozen=True, slots=True)
class RestartChild(Message[ActorRef]):
    """Start a child that is stopped. Fails with ChildNotFound, ChildRunning, ChildRestarting, StartFailed."""

    id: str

    def __post_init__(self) -> None:
        _check_id(self, self.id)


@dataclass(frozen=True, slots=True)
class DeleteChild(Message[None]):
    """Forget a child that is stopped. Fails with ChildNotFound, ChildRunning, ChildRestarting."""

    id: str

    def __post_init__(self) -> None:
        _check_id(self, self.id)


@dataclass(frozen=True, slots=True)
class StopChild(Message[bool]):
    """Stop a child and forget it, whatever its state; the reply says whether there was one."""

    id: str

    def __post_init__(self) -> None:
        _check_id(self, self.id)


@dataclass(frozen=True, slots=True)
class WhichChildren(Message[tuple[ChildInfo, ...]]):
    """The children, in start order."""


@dataclass(frozen=True, slots=True)
class CountChildren(Message[ChildCounts]):
    """How many children there are, by kind."""


@dataclass(frozen=True, slots=True)
class GetChildSpec(Message[ChildSpec]):
    """A child's specification. Fails with ChildNotFound."""

    id: str

    def __post_init__(self) -> None:
        _check_id(self, self.id)


def _check_id(message: Message[Any], id: object) -> None:
    if not isinstance(id, str):
        raise ConfigError(f"{type(message).__name__}: id = {id!r}", hint="It must be the id of a child, a text.")
