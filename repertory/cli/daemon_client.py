"""What the command line asks a running daemon, through its admin socket."""

import json
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote

from repertory.actors.info import ActorInfo, MailboxStats
from repertory.errors import ConfigError, RepertoryError
from repertory.server.admin_socket import check_length, is_reserved

TIMEOUT: Final = 5.0  # seconds; a daemon that is well answers within milliseconds
TREE: Final = "/v1/tree"
ENDPOINTS: Final = "/v1/endpoints"
RUNS: Final = "/v1/runs"
REFUSALS: Final = frozenset({404, 409, 501, 503})  # of a daemon that knows what it is to do, and cannot


class DaemonUnreachable(RepertoryError):
    """No daemon answers at the admin socket, or not as one does."""

    code: ClassVar[str] = "daemon_unreachable"
    retryable: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Circuit:
    """The circuit of a daemon's endpoint: ``open_for`` seconds nothing will be asked there."""

    endpoint: str
    state: str
    open_for: float


@dataclass(frozen=True, slots=True)
class EndpointLine:
    """A daemon's endpoint at one moment; ``reasons`` say why its health is not ``well``."""

    name: str
    model: str
    health: str
    reasons: tuple[str, ...]
    circuit: str
    in_flight: int  # attempts under way
    waiting: int  # calls that wait for their turn
    concurrency: int | None  # most attempts in flight at present; None: no limit
    calls: int  # since the start, as the next one
    failures: int
    retries: int  # in the last minute


@dataclass(frozen=True, slots=True)
class DaemonEndpoints:
    """The endpoints of a daemon at one moment, and whose they are."""

    version: str
    pid: int
    endpoints: tuple[EndpointLine, ...]


@dataclass(frozen=True, slots=True)
class ProgramRuns:
    """The runs of a daemon's program that are not at their end."""

    program: str
    called: int  # for a caller who waits
    submitted: int  # whoever waits
    beginning: int  # submitted, and about to begin


@dataclass(frozen=True, slots=True)
class StepCounts:
    """The steps of all runs of a daemon."""

    under_way: int
    ready: int  # waiting for their turn
    blocked: int  # waiting for other steps


@dataclass(frozen=True, slots=True)
class DaemonTree:
    """The supervision tree of a daemon at one moment, whose it is, what it is at, and suffers from outside."""

    version: str
    pid: int
    actors: tuple[ActorInfo, ...]
    journal_failure: str | None = None
    circuits: tuple[Circuit, ...] = ()
    runs: tuple[ProgramRuns, ...] = ()
    steps: StepCounts = StepCounts(0, 0, 0)


def ask_tree(path: Path, timeout: float = TIMEOUT) -> Any:
    """What the daemon at the admin socket ``path`` says of its tree; as `ask`."""
    return ask(path, TREE, timeout)


def ask_endpoints(path: Path, timeout: float = TIMEOUT) -> Any:
    """What the daemon at the admin socket ``path`` says of its endpoints; as `ask`."""
    return ask(path, ENDPOINTS, timeout)


def force_circuit(path: Path, endpoint: str, state: str, timeout: float = TIMEOUT) -> Any:
    """Have a daemon keep an endpoint's circuit ``open`` or ``closed``, or leave it to itself (``auto``).

    Returns what it then says of its endpoints. Raises as `ask`, and ConfigError if it has no such endpoint.
    """
    return ask(path, f"{ENDPOINTS}/{quote(endpoint, safe='')}/circuit/{state}", timeout, method="POST")


def retry_run(path: Path, run: str, timeout: float = TIMEOUT) -> str:
    """Have a daemon go on with a run that failed, was cancelled or is held; return the state it then has.

    Raises as `ask`, and ConfigError if it cannot.
    """
    answer = ask(path, f"{RUNS}/{quote(run, safe='')}/retry", timeout, method="POST")
    try:
        return str(answer["status"])
    except (LookupError, TypeError):
        raise _unexpected(path, "not the state of a run") from None


def ask(path: Path, resource: str, timeout: float, method: str = "GET") -> Any:
    """What the daemon at the admin socket ``path`` says of itself, as JSON has it.

    Args:
        resource: What it is asked about.
        timeout: Seconds to wait for an answer.
        method: Of HTTP.

    Raises ConfigError if no socket can have this path, or the daemon cannot do what is asked; DaemonUnreachable.
    """
    check_length(path)
    connection = _Connection(path, timeout)
    try:
        connection.request(method, resource, headers={"Connection": "close", "Content-Type": "application/json"})
        response = connection.getresponse()
        body = response.read()
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        raise _absent(path) from None
    except PermissionError:
        raise DaemonUnreachable(
            f"the admin socket {path.absolute()} is not yours to use",
            hint="Run the command as the user the daemon runs as: sudo -u USER repertory ps --socket PATH",
        ) from None
    except TimeoutError:
        raise _silent(path, timeout, connection.peer) from None
    except (OSError, HTTPException) as error:  # it ended meanwhile, or it is no daemon
        raise DaemonUnreachable(
            f"the admin socket {path.absolute()} gave no answer: {_reason(error)}",
            hint="Ask again; a daemon that is ending answers no more.",
        ) from None
    finally:
        connection.close()
    if method == "POST" and response.status in REFUSALS:
        raise _refused(path, body)
    if response.status not in (200, 202):
        raise _unexpected(path, f"status {response.status}")
    try:
        return json.loads(body)
    except ValueError:
        raise _unexpected(path, "no JSON") from None


def read_tree(path: Path, answer: Any) -> DaemonTree:
    """What ``answer``, which came from ``path``, says. Raises DaemonUnreachable if that is no daemon's."""
    try:
        actors = tuple(_actor(actor) for actor in answer["actors"])
        circuits = tuple(_circuit(circuit) for circuit in answer["circuits"])
        failure = answer["journal_failure"]
        return DaemonTree(
            version=str(answer["version"]),
            pid=int(answer["pid"]),
            actors=actors,
            journal_failure=str(failure) if failure is not None else None,
            circuits=circuits,
            runs=tuple(map(_runs, answer["runs"])),
            steps=StepCounts(*(int(answer["steps"][name]) for name in ("under_way", "ready", "blocked"))),
        )
    except (LookupError, TypeError, ValueError):
        raise _unexpected(path, "not the tree of this version") from None


def read_endpoints(path: Path, answer: Any) -> DaemonEndpoints:
    """What ``answer``, which came from ``path``, says. Raises DaemonUnreachable if that is no daemon's."""
    try:
        return DaemonEndpoints(
            version=str(answer["version"]),
            pid=int(answer["pid"]),
            endpoints=tuple(map(_endpoint, answer["endpoints"])),
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        raise _unexpected(path, "not the endpoints of this version") from None


def _endpoint(values: Mapping[str, Any]) -> EndpointLine:
    health, limits, retries = values["health"], values["limits"], values["retries"]
    concurrency = limits["concurrency"]
    return EndpointLine(
        name=str(values["name"]),
        model=str(values["model"]),
        health=str(health["state"]),
        reasons=tuple(map(str, health["reasons"])),
        circuit=str(values["circuit"]["state"]),
        in_flight=int(limits["in_flight"]),
        waiting=sum(map(int, limits["waiting"].values())),
        concurrency=int(concurrency) if concurrency is not None else None,
        calls=int(values["calls"]),
        failures=int(values["failures"]),
        retries=int(retries["retries"]),
    )


def _circuit(values: Mapping[str, Any]) -> Circuit:
    return Circuit(str(values["endpoint"]), str(values["state"]), float(values["open_for"]))


def _runs(values: Mapping[str, Any]) -> ProgramRuns:
    counts = (int(values[name]) for name in ("called", "submitted", "beginning"))
    return ProgramRuns(str(values["program"]), *counts)


def _actor(values: Mapping[str, Any]) -> ActorInfo:
    mailbox, age, error = values["mailbox"], values["age"], values["last_error"]
    return ActorInfo(
        path=str(values["path"]),
        kind=str(values["kind"]),
        state=str(values["state"]),
        incarnation=int(values["incarnation"]),
        restarts=int(values["restarts"]),
        age=float(age) if age is not None else None,
        mailbox=MailboxStats(*(int(mailbox[name]) for name in ("depth", "high_water", "waits", "drops"))),
        handling=tuple(str(message) for message in values["handling"]),
        last_error=str(error) if error is not None else None,
        children=tuple(_actor(child) for child in values["children"]),
    )


class _Connection(HTTPConnection):
    """HTTP over a Unix socket.

    Attributes:
        peer: The process that listens, once connected; None where the system does not tell.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path
        self.peer: int | None = None

    def connect(self) -> None:
        """Connect to the socket instead of a port."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
        if hasattr(socket, "SO_PEERCRED"):  # Linux
            credentials = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            self.peer = struct.unpack("3i", credentials)[0]


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def _absent(path: Path) -> DaemonUnreachable:
    if not path.exists() and is_reserved(path):
        return DaemonUnreachable(
            f"a daemon runs, but its admin socket {path.absolute()} is gone",
            hint="Somebody removed it. Restart the daemon: it makes another. Its HTTP API is not concerned.",
        )
    return DaemonUnreachable(
        f"no daemon answers at {path.absolute()}",
        hint="Start one: repertory serve CONFIG. If it runs: repertory ps CONFIG, in the directory it was started "
        "in, or repertory ps --socket PATH, with the admin_socket its log names in the line `listening`.",
    )


def _silent(path: Path, timeout: float, pid: int | None) -> DaemonUnreachable:
    who = f"the daemon (pid {pid})" if pid else "the daemon"
    look = f"py-spy dump --pid {pid}" if pid else "py-spy dump"
    return DaemonUnreachable(
        f"{who} at {path.absolute()} gave no answer in {timeout:g} s: its event loop is blocked",
        hint=f"See where it is ({look}), then restart it. What computes for long belongs in a thread or process.",
    )


def _refused(path: Path, body: bytes) -> RepertoryError:
    """Why the daemon does not do what was asked, in its own words (RFC 9457)."""
    try:
        problem = json.loads(body)
        hint = problem.get("hint")
        return ConfigError(f"the daemon says: {problem['detail']}", hint=str(hint) if hint is not None else None)
    except (ValueError, LookupError, AttributeError, TypeError):
        return _unexpected(path, "no reason why not")


def _unexpected(path: Path, what: str) -> DaemonUnreachable:
    return DaemonUnreachable(
        f"what answers at {path.absolute()} does not answer as a daemon of this version does: {what}",
        hint="Use the repertory command of the daemon's own installation, and the admin socket its log names.",
    )
