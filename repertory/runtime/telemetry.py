"""Telemetry: hooks that write events as log lines and count them as metrics.

Nothing here is global: a logger and a registry belong to whoever made them.
"""

import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from types import MappingProxyType
from typing import Any, Final, Literal, TextIO, TypeAlias, cast, get_args

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from structlog.typing import FilteringBoundLogger, Processor

from repertory import events
from repertory.errors import RepertoryError
from repertory.events import Event
from repertory.runtime.config import LogConfig

Level: TypeAlias = Literal["debug", "info", "warning", "error"]

LEVELS: Final[Mapping[type[Event], Level]] = MappingProxyType(
    {
        events.ActorStarted: "debug",
        events.ActorStopped: "debug",
        events.ActorPassivated: "debug",
        events.ActorCrashed: "warning",
        events.RestartFailed: "warning",
        events.SupervisorGaveUp: "error",
        events.StuckChild: "error",
        events.CancellationIgnored: "warning",
        events.ReminderFailed: "error",
        events.HookFailed: "error",
        events.LMCallFinished: "debug",
        events.BudgetCharged: "debug",
        events.CallHedged: "debug",
        events.CacheStoreFailed: "warning",
        events.CircuitsNotKept: "warning",
        events.ReplyMended: "debug",
        events.LocalModelExited: "warning",
        events.MemoryFreed: "debug",
        events.WorkRefused: "warning",
        events.WorkShed: "warning",
        events.RunFinished: "debug",
        events.RunStuck: "error",
        events.PruningFailed: "warning",
        events.RolloutRolledBack: "warning",
        events.RolloutMetricFailed: "warning",
    }
)
"""How loud each event is; those not named are ``info``; a circuit that opens, or short memory, ``warning``."""

MOST_NAMES: Final = 100  # different values a label of a metric can have

_LEVEL_NUMBERS: Final = MappingProxyType({name: getattr(logging, name.upper()) for name in get_args(Level)})
_WORD_START: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_CIRCUIT_VALUES: Final = MappingProxyType({"closed": 0, "half_open": 1, "open": 2})
_MEMORY_VALUES: Final = MappingProxyType({"normal": 0, "high": 1, "critical": 2})


# --- log lines -----------------------------------------------------------------------------------------------


def make_logger(config: LogConfig, stream: TextIO) -> FilteringBoundLogger:
    """A logger that writes one line an event to ``stream``, as JSON or for people to read."""
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if config.format == "json":
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    else:
        # structlog's default shows local variables in tracebacks, and with them inputs and keys.
        plain = structlog.dev.plain_traceback
        colors = stream.isatty()
        processors.append(structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain))
    # Not structlog.wrap_logger: what is not passed to it comes from structlog's global configuration.
    bound = structlog.make_filtering_bound_logger(config.level)
    return cast(FilteringBoundLogger, cast(Any, bound)(_Lines(stream), processors, {}))


class _Lines:
    """Writes lines; what nobody can read any more is not worth failing for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        with suppress(OSError, ValueError):  # the reader is gone, or the stream was closed
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = write


class StructlogHook:
    """Writes each event as one log line: its name in snake case, and its fields.

    An error among the fields is told as type and message; a line of level ``error`` has its traceback too.

    Args:
        log: Where to; made by `make_logger`, or any logger of structlog that filters by level.
        levels: Levels of further events, or other ones for those in `LEVELS`.
    """

    def __init__(self, log: FilteringBoundLogger, levels: Mapping[type[Event], Level] | None = None) -> None:
        self._log = log
        self._levels = {**LEVELS, **(levels or {})}
        self._shapes: dict[type[Event], tuple[str, tuple[str, ...]]] = {}

    def __call__(self, event: Event) -> None:
        """Write ``event``, if its level is wanted."""
        level = _LEVEL_NUMBERS[self._level(event)]
        if not self._log.is_enabled_for(level):
            return
        name, field_names = self._shape(type(event))
        values = {field: getattr(event, field) for field in field_names}
        line = {field: _readable(value) for field, value in values.items()}
        if level >= logging.ERROR:
            cause = next((value for value in values.values() if isinstance(value, BaseException)), None)
            if cause is not None:
                line["exc_info"] = cause
        self._log.log(level, name, **line)

    def _level(self, event: Event) -> Level:
        if isinstance(event, events.CircuitChanged) and event.after == "open":
            return "warning"
        if isinstance(event, events.MemoryLevelChanged) and event.after != "normal":
            return "warning"
        return self._levels.get(type(event), "info")

    def _shape(self, kind: type[Event]) -> tuple[str, tuple[str, ...]]:
        shape = self._shapes.get(kind)
        if shape is None:
            name = _WORD_START.sub("_", kind.__name__).lower()
            shape = self._shapes[kind] = (name, tuple(field.name for field in fields(kind)))
        return shape


def _readable(value: object) -> object:
    if isinstance(value, BaseException):
        message = value.message if isinstance(value, RepertoryError) else str(value)
        return f"{type(value).__name__}: {message}" if message else type(value).__name__
    if isinstance(value, type):
        return value.__name__
    return round(value, 6) if isinstance(value, float) else value


# --- metrics -------------------------------------------------------------------------------------------------


class PrometheusHook:
    """Counts events in ``registry``.

    Invariant: the number of series is bounded. Labels are names somebody configured, error codes and the
    constants of the events; past `MOST_NAMES` different values a label says ``other``.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"repertory_{name}", text, labels, registry=registry)

        def seconds(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(f"repertory_{name}", text, labels, registry=registry, buckets=_SECONDS)

        self._runs = counter("runs", "Runs that ended, by error code or ok or replayed.", "program", "outcome")
        self._run_seconds = seconds("run_seconds", "Duration of runs, replayed ones aside.", "program")
        self._calls = counter("lm_calls", "Attempts at an endpoint, by error code or ok.", "endpoint", "outcome")
        self._call_seconds = seconds("lm_call_seconds", "Duration of attempts at an endpoint.", "endpoint")
        self._tokens = counter("lm_tokens", "Tokens counted by the endpoint.", "endpoint", "direction")
        self._retries = counter("lm_retries", "Attempts that will be repeated.", "endpoint")
        self._restarts = counter("actor_restarts", "Actors restarted after an end, by branch.", "branch")
        self._dropped = counter("messages_dropped", "Messages that were never handled.", "reason")
        self._mended = counter("replies_mended", "Replies read although not as asked for.", "program")
        self._refused = counter("replies_refused", "Replies that could not be used.", "program", "asked_again")
        self._fell_back = counter(
            "route_fallbacks", "Calls of a route passed on, by who failed.", "route", "endpoint"
        )
        self._hedged = counter("route_hedges", "Second requests of a route, by whether they won.", "route", "won")
        self._stale = counter("route_stale", "Old answers given as no endpoint had a new one.", "route")
        self._unpaid = counter("budget_refusals", "Attempts nothing was sure to pay for.", "endpoint", "error")
        self._charged = counter("budget_dollars", "Dollars charged to those who pay.", "endpoint", "ending")
        self._circuit = Gauge(
            "repertory_circuit_state",
            "State of an endpoint's circuit: 0 closed, 1 half open, 2 open.",
            ["endpoint"],
            registry=registry,
        )
        self._memory = Gauge(
            "repertory_memory_level", "How short memory is: 0 normal, 1 high, 2 critical.", registry=registry
        )
        self._turned_away = counter("work_refused", "New work refused as memory was short.", "priority")
        self._shed = counter("work_shed", "Work under way ended as memory stayed critical.", "priority")
        self._program = _BoundedLabel()
        self._endpoint = _BoundedLabel()
        self._route = _BoundedLabel()
        self._outcome = _BoundedLabel()
        self._reason = _BoundedLabel()

    def __call__(self, event: Event) -> None:
        """Count ``event``, if it is one that is counted."""
        match event:
            case events.LMCallFinished():
                self._count_call(event)
            case events.RunFinished():
                self._count_run(event)
            case events.LMRetryScheduled():
                self._retries.labels(self._endpoint(event.endpoint)).inc()
            case events.CircuitChanged():
                self._circuit.labels(self._endpoint(event.endpoint)).set(_CIRCUIT_VALUES[event.after])
            case events.FellBack():
                self._fell_back.labels(self._route(event.route), self._endpoint(event.endpoint)).inc()
            case events.CallHedged():
                self._hedged.labels(self._route(event.route), "yes" if event.won else "no").inc()
            case events.StaleServed():
                self._stale.labels(self._route(event.route)).inc()
            case events.BudgetRefused():
                self._unpaid.labels(self._endpoint(event.endpoint), event.error).inc()
            case events.BudgetCharged():
                self._charged.labels(self._endpoint(event.endpoint), event.ending).inc(event.nano_dollars / 1e9)
            case events.MemoryLevelChanged():
                self._memory.set(_MEMORY_VALUES[event.after])
            case events.WorkRefused():
                for priority in ("interactive", "normal", "batch"):
                    self._turned_away.labels(priority).inc(getattr(event, priority))
            case events.WorkShed():
                self._shed.labels(event.priority).inc(event.ended)
            case events.ActorRestarted():
                self._restarts.labels(_branch(event.path)).inc()
            case events.ReplyMended():
                self._mended.labels(self._program(_program(event.path))).inc()
            case events.ReplyRefused():
                asked_again = "yes" if event.asked_again else "no"
                self._refused.labels(self._program(_program(event.path)), asked_again).inc()
            case events.MessageDropped():
                self._dropped.labels(self._reason(event.reason)).inc()
            case _:
                pass

    def _count_call(self, event: events.LMCallFinished) -> None:
        endpoint = self._endpoint(event.endpoint)
        self._calls.labels(endpoint, self._outcome(event.error or "ok")).inc()
        self._call_seconds.labels(endpoint).observe(event.seconds)
        self._tokens.labels(endpoint, "input").inc(event.input_tokens)
        self._tokens.labels(endpoint, "output").inc(event.output_tokens)
        self._circuit.labels(endpoint)  # there from the first call on: closed, unless an event said otherwise

    def _count_run(self, event: events.RunFinished) -> None:
        program = self._program(event.program)
        if event.replayed:
            self._runs.labels(program, "replayed").inc()
            return
        self._runs.labels(program, self._outcome(event.error or "ok")).inc()
        self._run_seconds.labels(program).observe(event.seconds)


class _BoundedLabel:
    """Lets the first `MOST_NAMES` values of a label through, and calls the rest ``other``."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __call__(self, value: str) -> str:
        if value not in self._known:
            if len(self._known) >= MOST_NAMES:
                return "other"
            self._known.add(value)
        return value


def _program(path: str) -> str:
    """The program that the actor at ``path`` belongs to."""
    match path.split("/"):
        case ["root", "programs", name, *_]:
            return name.partition("@")[0]  # whichever version of it
        case _:
            return "other"


def _branch(path: str) -> str:
    """Which part of the supervision tree ``path`` is in."""
    match path.split("/"):
        case ["root", "models" | "programs" as branch, *_]:
            return branch
        case _:
            return "other"
