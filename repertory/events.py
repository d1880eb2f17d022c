"""Typed events and the hooks that receive them.

The core states one frozen fact an event; Prometheus, structlog and whatever else listens are hooks that no
other room imports. Emitters write ``if hooks: hooks.emit(...)``, so that silence costs one ``if``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Event:
    """Root of all events."""


Hook: TypeAlias = Callable[[Event], None]


class Hooks:
    """The listeners of one runtime, called in order, synchronously, so a hook must be quick.

    What a hook raises never reaches the emitter: the others are told of it by `HookFailed`, the first time.
    """

    __slots__ = ("_failed", "_hooks")

    def __init__(self, hooks: Iterable[Hook] = ()) -> None:
        self._hooks = list(hooks)
        self._failed: list[Hook] = []

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def add(self, hook: Hook) -> None:
        """Let ``hook`` receive every later event."""
        self._hooks.append(hook)

    def emit(self, event: Event) -> None:
        """Hand ``event`` to every hook."""
        for hook in self._hooks:
            try:
                hook(event)
            except Exception as error:  # noqa: BLE001  # whatever it is, the emitter has nothing to do with it
                if hook not in self._failed:
                    self._failed.append(hook)
                    self.emit(HookFailed(repr(hook), error))


@dataclass(frozen=True, slots=True)
class HookFailed(Event):
    """A hook raised; later errors of the same hook are not told."""

    hook: str
    cause: BaseException


# --- actors and supervisors ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ActorStarted(Event):
    """A life of an actor finished ``started`` and takes messages."""

    path: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class ActorStopped(Event):
    """A life ended as asked (normal or shutdown)."""

    path: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class ActorPassivated(Event):
    """An actor without work was dropped; its next message makes it anew."""

    path: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class ActorCrashed(Event):
    """A life ended by an error."""

    path: str
    incarnation: int
    cause: BaseException


@dataclass(frozen=True, slots=True)
class ActorRestarted(Event):
    """A supervisor started a new life of a child after a failure."""

    path: str
    incarnation: int
    cause: BaseException | None  # None: it ended normally and is permanent
    waited: float  # seconds between the end of the old life and the start of the new one


@dataclass(frozen=True, slots=True)
class RestartFailed(Event):
    """A new life did not start; the supervisor tries again while its intensity allows."""

    path: str
    cause: BaseException


@dataclass(frozen=True, slots=True)
class SupervisorGaveUp(Event):
    """A supervisor reached its restart limit, stopped its children and ends."""

    path: str
    cause: BaseException | None


@dataclass(frozen=True, slots=True)
class PoolScaled(Event):
    """A pool has one replica more for new messages, or one fewer."""

    path: str
    replicas: int
    waiting: int  # messages that waited for all of them when that was decided


@dataclass(frozen=True, slots=True)
class StuckChild(Event):
    """A life did not end within its shutdown timeout and was left behind, detached."""

    path: str
    incarnation: int


@dataclass(frozen=True, slots=True)
class CancellationIgnored(Event):
    """A handler goes on although its asker is gone and it has been cancelled; the messages behind it wait."""

    path: str
    incarnation: int
    message: type


@dataclass(frozen=True, slots=True)
class ReminderFailed(Event):
    """That a reminder has been handled could not be written down: it may come once more."""

    path: str
    name: str
    cause: BaseException


@dataclass(frozen=True, slots=True)
class MessageDropped(Event):
    """A message will never be handled."""

    path: str
    message: type
    reason: str  # "expired" | "abandoned" | "full" | "down" | "failed" | "unhandled"


# --- language models -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LMCallFinished(Event):
    """One attempt at an endpoint ended."""

    endpoint: str
    seconds: float
    error: str | None  # the error's code, or "cancelled" if its caller went away; None for success
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class LMRetryScheduled(Event):
    """A failed attempt will be repeated."""

    endpoint: str
    attempt: int  # the one that failed, from 1
    delay: float  # seconds
    error: str


@dataclass(frozen=True, slots=True)
class CircuitChanged(Event):
    """A breaker changed its state."""

    endpoint: str
    before: str
    after: str  # "closed" | "open" | "half_open"


@dataclass(frozen=True, slots=True)
class BudgetRefused(Event):
    """An attempt was not made, because nothing was sure to pay for it."""

    endpoint: str
    accounts: tuple[str, ...]
    error: str  # the error's code


@dataclass(frozen=True, slots=True)
class BudgetCharged(Event):
    """An attempt that accounts pay for has ended."""

    endpoint: str
    accounts: tuple[str, ...]
    ending: str  # "settle" | "release" | "write_off"
    nano_dollars: int  # charged to each
    tokens: int


@dataclass(frozen=True, slots=True)
class EndpointProbed(Event):
    """An endpoint whose circuit is open was asked, at no cost, whether it is there."""

    endpoint: str
    error: str | None  # what is wrong, as an error's code; None: it answers, and the next call is let through


@dataclass(frozen=True, slots=True)
class LocalModelStarted(Event):
    """The local model's server process answers."""

    endpoint: str
    pid: int
    url: str


@dataclass(frozen=True, slots=True)
class LocalModelExited(Event):
    """The local model's server process ended without being asked to."""

    endpoint: str
    pid: int
    status: int  # exit code, or minus the signal's number


@dataclass(frozen=True, slots=True)
class ReplyMended(Event):
    """A reply was not as asked for, but could be read without asking again."""

    path: str
    repairs: int  # of the JSON text
    coercions: int  # of values to other types; the values themselves are in the prediction's trace, not in events


@dataclass(frozen=True, slots=True)
class ReplyRefused(Event):
    """A reply could not be used."""

    path: str
    field: str  # the output that was wrong; "" for the reply as a whole, or a check
    asked_again: bool


@dataclass(frozen=True, slots=True)
class FellBack(Event):
    """A route asks its next endpoint, as one has failed."""

    route: str
    endpoint: str  # the one that failed
    to: str
    error: str  # the failure's code


@dataclass(frozen=True, slots=True)
class CallHedged(Event):
    """A route had asked a second endpoint, as the first was late; the call has come to its end."""

    route: str
    endpoint: str  # the first
    to: str
    won: bool  # whether the second's answer was taken


@dataclass(frozen=True, slots=True)
class StaleServed(Event):
    """No endpoint of a route gave an answer, and the caller got an old one."""

    route: str
    endpoint: str  # whose cache it was in
    error: str  # the last failure's code


@dataclass(frozen=True, slots=True)
class CacheStoreFailed(Event):
    """The store failed a cache of answers; calls go on without it. Told once until it has worked again."""

    endpoint: str
    cause: BaseException


@dataclass(frozen=True, slots=True)
class CircuitsNotKept(Event):
    """The circuits could not be written down for the next process. Told once until they were again."""

    cause: BaseException


# --- memory and load -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MemoryLevelChanged(Event):
    """Memory has become short, shorter, or less short."""

    before: str
    after: str  # "normal" | "high" | "critical"
    used: int | None  # bytes; None: it cannot be told
    limit: int | None


@dataclass(frozen=True, slots=True)
class MemoryFreed(Event):
    """While memory was short, caches and idle actors gave up some; told once a look."""

    cache_bytes: int  # of answers dropped
    actors: int  # passivated before their time


@dataclass(frozen=True, slots=True)
class WorkRefused(Event):
    """New work was turned away since the last look, as memory is short."""

    at: str  # the level
    interactive: int
    normal: int
    batch: int


@dataclass(frozen=True, slots=True)
class WorkShed(Event):
    """Memory stayed critical, so work under way was ended."""

    priority: str  # of this priority, and below it
    ended: int


# --- runs ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ParametersChanged(Event):
    """A predictor's parameters have a new version."""

    path: str
    version: int


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """A run of a program ended."""

    program: str
    run_id: str
    seconds: float
    error: str | None  # the error's code; None for success
    replayed: bool  # whether the outcome was read from the journal


@dataclass(frozen=True, slots=True)
class RunStuck(Event):
    """A program's ``forward`` goes on although it has been cancelled; it was left behind, its caller told."""

    program: str
    run_id: str


@dataclass(frozen=True, slots=True)
class RunsPruned(Event):
    """The store was cleared of what its retention does not keep; told if there was anything."""

    removed: int  # ended runs, with their logs
    compacted: int  # ended runs whose logs were shortened
    contents: int  # pieces of large values that no run refers to any more


@dataclass(frozen=True, slots=True)
class PruningFailed(Event):
    """The store could not be cleared of what its retention does not keep; it is tried again later."""

    cause: BaseException


# --- releases ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RolloutAdvanced(Event):
    """A new version of a program gets a larger share of its runs."""

    program: str
    version: str
    before: float  # its share until now; 0 for a new rollout
    weight: float


@dataclass(frozen=True, slots=True)
class RolloutPromoted(Event):
    """A new version gets all runs; the one it replaces finishes its own and is stopped."""

    program: str
    version: str
    replaced: str


@dataclass(frozen=True, slots=True)
class RolloutRolledBack(Event):
    """A new version gets no runs any more; it finishes its own and is stopped."""

    program: str
    version: str
    reason: str


@dataclass(frozen=True, slots=True)
class RolloutMetricFailed(Event):
    """The metric by which two versions are compared raised; told once a rollout. The run is not affected."""

    program: str
    version: str
    cause: BaseException
