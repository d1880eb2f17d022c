"""Child specifications: what a supervisor starts, when it starts it again, and how long it lets it stop.

Semantics: Erlang/OTP ``supervisor``, "Child specification"; ``significant`` is EEP-56.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal, Self, TypeAlias, get_args

from repertory.actors import Actor, ActorSpec, Exit
from repertory.actors.spec import is_name, is_seconds

Restart: TypeAlias = Literal["permanent", "transient", "temporary"]
Shutdown: TypeAlias = float | Literal["infinity", "brutal"]

WORKER_SHUTDOWN = 5.0  # seconds a child that is no supervisor has to stop, where its spec does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec(ActorSpec):
    """How a supervisor runs one child: what `ActorSpec` says, and the following.

    Args:
        id: Unique within the supervisor; the last part of the child's path.
        restart: ``permanent`` is always restarted, ``transient`` only after a failure, ``temporary`` never.
        shutdown: Seconds the child may take to stop before it is killed; "infinity": as long as it takes;
            "brutal": it is killed at once. None: "infinity" for a child that is itself a supervisor, 5 seconds
            for any other.
        significant: Whether its end may end the supervisor, as its ``auto_shutdown`` says.

    Raises ConfigError naming the argument.
    """

    id: str
    restart: Restart = "permanent"
    shutdown: Shutdown | None = None
    significant: bool = False

    def __post_init__(self) -> None:
        self._check(is_child_id(self.id), "id", "a name without '/'")
        self._check(self.restart in get_args(Restart), "restart", "'permanent', 'transient' or 'temporary'")
        self._check(
            self.shutdown in (None, "infinity", "brutal") or is_seconds(self.shutdown),
            "shutdown",
            "seconds, 'infinity', 'brutal', or None for what is usual for such a child",
        )
        self._check(isinstance(self.significant, bool), "significant", "True or False")
        self._check(
            not (self.significant and self.restart == "permanent"),
            "significant",
            "False for a permanent child, which never ends for good: make it transient or temporary",
        )
        # Not super(): a slotted dataclass is a copy of the class that super() would look for.
        ActorSpec.__post_init__(self)

    def restarts_after(self, exit: Exit) -> bool:
        """Whether a child that ended so is started again."""
        if self.restart == "permanent":
            return True
        return self.restart == "transient" and exit.abnormal

    def patience(self, *, supervisor: bool) -> float | None:
        """Seconds the child may take to stop; None: as long as it takes; 0: it is killed.

        Args:
            supervisor: Whether the child is itself a supervisor.
        """
        if self.shutdown is None:
            return None if supervisor else WORKER_SHUTDOWN
        if self.shutdown == "infinity":
            return None
        return 0.0 if self.shutdown == "brutal" else self.shutdown

    def with_arguments(self, arguments: tuple[Any, ...]) -> Self:
        """The same, but ``start`` is called with ``arguments`` appended."""
        start: Callable[[], Actor[Any]] = partial(self.start, *arguments)
        # `dataclasses.replace` would validate anew what has been validated, for each of many children.
        spec = object.__new__(type(self))
        for name in _NAMES:
            object.__setattr__(spec, name, getattr(self, name))
        object.__setattr__(spec, "start", start)
        return spec


def is_child_id(id: object) -> bool:
    """Whether ``id`` can be the last part of a path."""
    return is_name(id) and "/" not in id


_NAMES = tuple(field.name for field in fields(ChildSpec))
