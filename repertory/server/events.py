"""What the daemon tells the runtime's hooks."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from repertory.events import Event
from repertory.runtime.telemetry import Level


@dataclass(frozen=True, slots=True)
class Listening(Event):
    """Requests are taken."""

    url: str
    programs: tuple[str, ...]
    auth: bool
    admin_socket: str | None  # where `repertory ps` asks


@dataclass(frozen=True, slots=True)
class RequestServed(Event):
    """A request was answered, or its client left. Health checks and scrapes that went well are not told."""

    request_id: str
    method: str
    path: str  # as it came, percent-encoded, without the query
    status: int  # 499: the client left before the answer
    seconds: float


@dataclass(frozen=True, slots=True)
class RequestCrashed(Event):
    """A request met an error nobody foresaw; the client was told 500 and the id."""

    request_id: str
    cause: BaseException


@dataclass(frozen=True, slots=True)
class JournalFailed(Event):
    """A request could not be journaled, say because the disk is full; the client was told 503 and the id."""

    request_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class BadHttp(Event):
    """The HTTP server could not make a request of what a client sent."""

    message: str
    cause: BaseException | None


@dataclass(frozen=True, slots=True)
class Draining(Event):
    """A stop was asked for: no new connections, and requests under way have ``seconds`` to finish."""

    seconds: float


@dataclass(frozen=True, slots=True)
class DaemonFailed(Event):
    """The supervision tree gave up; the daemon ends, for its process manager to start it again."""

    cause: BaseException


@dataclass(frozen=True, slots=True)
class DaemonStopped(Event):
    """The daemon has ended as asked."""

    drained: bool  # whether every request under way could finish


@dataclass(frozen=True, slots=True)
class TasksLeft(Event):
    """The daemon has stopped, but these go on although they were cancelled: the process ends without them."""

    tasks: tuple[str, ...]


LEVELS: Final[Mapping[type[Event], Level]] = MappingProxyType(
    {
        RequestCrashed: "error",
        JournalFailed: "error",
        BadHttp: "warning",
        DaemonFailed: "error",
        TasksLeft: "error",
    }
)
"""How loud each of these is; those not named are ``info``."""
