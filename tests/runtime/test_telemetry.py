"""Events as log lines and as metrics."""

import io
import json
import logging
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from prometheus_client import REGISTRY, CollectorRegistry

from repertory import events
from repertory.errors import CircuitOpen
from repertory.events import Event
from repertory.runtime.config import LogConfig
from repertory.runtime.telemetry import MOST_NAMES, PrometheusHook, StructlogHook, make_logger

EVERY_EVENT: list[Event] = [
    events.HookFailed("print", OSError("closed")),
    events.ActorStarted("root/models", 1),
    events.ActorStopped("root/models", 1),
    events.ActorCrashed("root/models/default", 1, ValueError("boom")),
    events.ActorRestarted("root/models/default", 2, None, 0.25),
    events.RestartFailed("root/models/default", ValueError("again")),
    events.SupervisorGaveUp("root/models", None),
    events.ActorPassivated("root/sessions/1", 1),
    events.PoolScaled("root/programs/mail/self/pool", 3, 12),
    events.StuckChild("root/programs/mail/self/pool/replica-0", 3),
    events.CancellationIgnored("root/programs/mail/self/pool/replica-0", 3, dict),
    events.ReminderFailed("root/sessions/1", "tidy", OSError("disk full")),
    events.MessageDropped("root/programs", dict, "full"),
    events.LMCallFinished("default", 0.5, None, 11, 7),
    events.ReplyMended("root/programs/qa/self/1", 1, 2),
    events.ReplyRefused("root/programs/qa/self/1", "answer", True),
    events.LMRetryScheduled("default", 1, 0.2, "lm_timeout"),
    events.CircuitChanged("default", "closed", "open"),
    events.BudgetRefused("default", ("global",), "budget_exceeded"),
    events.BudgetCharged("default", ("global",), "settle", 1200, 18),
    events.EndpointProbed("default", "lm_unreachable"),
    events.FellBack("any", "default", "spare", "lm_timeout"),
    events.CallHedged("any", "default", "spare", True),
    events.StaleServed("any", "default", "circuit_open"),
    events.CacheStoreFailed("default", OSError("disk full")),
    events.CircuitsNotKept(OSError("disk full")),
    events.LocalModelStarted("default", 42, "http://127.0.0.1:1"),
    events.LocalModelExited("default", 42, -9),
    events.MemoryLevelChanged("normal", "high", 850, 1000),
    events.MemoryFreed(2**20, 3),
    events.WorkRefused("critical", 0, 4, 9),
    events.WorkShed("batch", 2),
    events.ParametersChanged("root/programs/mail/self/parameters", 2),
    events.RunFinished("mail", "run-1", 0.5, None, replayed=False),
    events.RunStuck("mail", "run-1"),
    events.RunsPruned(3, 2, 100),
    events.PruningFailed(OSError("disk full")),
    events.RolloutAdvanced("mail", "mail@2", 0.05, 0.1),
    events.RolloutPromoted("mail", "mail@2", "mail"),
    events.RolloutRolledBack("mail", "mail@2", "by hand"),
    events.RolloutMetricFailed("mail", "mail@2", ValueError("no number")),
]


def written(*told: Event, level: Any = "debug", **hook: Any) -> list[dict[str, Any]]:
    stream = io.StringIO()
    log = StructlogHook(make_logger(LogConfig(format="json", level=level), stream), **hook)
    for event in told:
        log(event)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


# --- log lines ---


@pytest.mark.parametrize("event", EVERY_EVENT, ids=lambda event: type(event).__name__)
def test_each_event_is_one_line_with_its_name_and_fields(event: Event) -> None:
    (line,) = written(event)
    assert line["event"].replace("_", "") == type(event).__name__.lower()
    assert set(line) >= {*event.__dataclass_fields__, "level", "timestamp"}
    assert datetime.fromisoformat(line["timestamp"]).tzinfo == UTC


def test_no_event_is_left_out() -> None:
    kinds = {kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)}
    assert {type(event) for event in EVERY_EVENT} == kinds - {Event}


def test_names_are_in_snake_case() -> None:
    lines = written(*EVERY_EVENT)
    names = [line["event"] for line in lines]
    assert {"lm_call_finished", "lm_retry_scheduled", "local_model_exited", "stuck_child"} <= set(names)


def test_incidents_are_louder_than_routine() -> None:
    levels = {line["event"]: line["level"] for line in written(*EVERY_EVENT)}
    assert {name for name, level in levels.items() if level == "error"} == {
        "hook_failed",
        "supervisor_gave_up",
        "stuck_child",
        "reminder_failed",
        "run_stuck",
    }
    assert {name for name, level in levels.items() if level == "warning"} == {
        "actor_crashed",
        "restart_failed",
        "cancellation_ignored",
        "circuit_changed",
        "cache_store_failed",
        "pruning_failed",
        "circuits_not_kept",
        "local_model_exited",
        "memory_level_changed",
        "work_refused",
        "work_shed",
        "rollout_rolled_back",
        "rollout_metric_failed",
    }
    assert {name for name, level in levels.items() if level == "debug"} == {
        "budget_charged",
        "call_hedged",
        "actor_started",
        "actor_stopped",
        "actor_passivated",
        "lm_call_finished",
        "memory_freed",
        "reply_mended",
        "run_finished",
    }


def test_a_circuit_that_closes_is_no_incident() -> None:
    (line,) = written(events.CircuitChanged("default", "half_open", "closed"))
    assert line["level"] == "info"


def test_memory_that_is_short_no_more_is_no_incident() -> None:
    (line,) = written(events.MemoryLevelChanged("high", "normal", 700, 1000))
    assert line["level"] == "info"


def test_what_is_below_the_level_is_not_written() -> None:
    assert [line["event"] for line in written(*EVERY_EVENT, level="error")] == [
        "hook_failed",
        "supervisor_gave_up",
        "stuck_child",
        "reminder_failed",
        "run_stuck",
    ]


def test_levels_can_be_given_for_further_events() -> None:
    (line,) = written(events.ActorStarted("a", 1), levels={events.ActorStarted: "warning"})
    assert line["level"] == "warning"


def test_an_error_is_told_as_type_and_message() -> None:
    crash, open_circuit, silent = written(
        events.ActorCrashed("a", 1, ValueError("boom")),
        events.ActorCrashed("a", 1, CircuitOpen("open", hint="Wait.")),
        events.ActorCrashed("a", 1, ZeroDivisionError()),
    )
    assert crash["cause"] == "ValueError: boom"
    assert open_circuit["cause"] == "CircuitOpen: open"
    assert silent["cause"] == "ZeroDivisionError"
    assert "exception" not in crash


@pytest.mark.parametrize("style", ["json", "console"])
def test_an_error_line_has_the_traceback_without_local_variables(style: Any) -> None:
    stream = io.StringIO()
    log = StructlogHook(make_logger(LogConfig(format=style), stream))
    log(events.SupervisorGaveUp("root", _raised()))
    assert "Traceback" in stream.getvalue()
    assert "no more" in stream.getvalue()
    assert "hush" not in stream.getvalue()


def _raised() -> Exception:
    password = "hu" + "sh"
    try:
        raise ValueError("no more" if password else "")
    except ValueError as error:
        return error


def test_the_console_shows_no_colors_where_nobody_would_see_them() -> None:
    stream = io.StringIO()
    StructlogHook(make_logger(LogConfig(), stream))(events.StuckChild("a", 1))
    assert "stuck_child" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_a_log_nobody_reads_fails_nothing() -> None:
    stream = io.StringIO()
    log = StructlogHook(make_logger(LogConfig(), stream))
    stream.close()
    log(events.StuckChild("a", 1))


def test_nothing_global_is_configured() -> None:
    handlers = list(logging.getLogger().handlers)
    written(*EVERY_EVENT)
    assert not structlog.is_configured()
    assert logging.getLogger().handlers == handlers


# --- metrics ---


class Metrics:
    """A hook on a registry of its own."""

    def __init__(self, *told: Event) -> None:
        self.registry = CollectorRegistry()
        hook = PrometheusHook(self.registry)
        for event in told:
            hook(event)

    def __getitem__(self, key: tuple[str, dict[str, str]]) -> float | None:
        return self.registry.get_sample_value(f"repertory_{key[0]}", key[1])


def test_runs_are_counted_by_outcome_and_timed() -> None:
    metrics = Metrics(
        events.RunFinished("mail", "1", 0.5, None, replayed=False),
        events.RunFinished("mail", "2", 1.5, "circuit_open", replayed=False),
        events.RunFinished("mail", "3", 99.0, None, replayed=True),
    )
    assert metrics["runs_total", {"program": "mail", "outcome": "ok"}] == 1
    assert metrics["runs_total", {"program": "mail", "outcome": "circuit_open"}] == 1
    assert metrics["runs_total", {"program": "mail", "outcome": "replayed"}] == 1
    assert metrics["run_seconds_sum", {"program": "mail"}] == 2.0


def test_calls_are_counted_with_their_tokens() -> None:
    metrics = Metrics(
        events.LMCallFinished("default", 0.5, None, 11, 7),
        events.LMCallFinished("default", 0.5, "lm_timeout", 0, 0),
        events.LMRetryScheduled("default", 1, 0.1, "lm_timeout"),
    )
    assert metrics["lm_calls_total", {"endpoint": "default", "outcome": "ok"}] == 1
    assert metrics["lm_calls_total", {"endpoint": "default", "outcome": "lm_timeout"}] == 1
    assert metrics["lm_call_seconds_count", {"endpoint": "default"}] == 2
    assert metrics["lm_tokens_total", {"endpoint": "default", "direction": "input"}] == 11
    assert metrics["lm_tokens_total", {"endpoint": "default", "direction": "output"}] == 7
    assert metrics["lm_retries_total", {"endpoint": "default"}] == 1


def test_replies_that_were_mended_or_refused_are_counted_by_program() -> None:
    metrics = Metrics(
        events.ReplyMended("root/programs/mail/self/1", 1, 2),
        events.ReplyRefused("root/programs/mail/self/1", "answer", True),
        events.ReplyRefused("root/programs/mail/self/1", "answer", False),
    )
    assert metrics["replies_mended_total", {"program": "mail"}] == 1
    assert metrics["replies_refused_total", {"program": "mail", "asked_again": "yes"}] == 1
    assert metrics["replies_refused_total", {"program": "mail", "asked_again": "no"}] == 1


@pytest.mark.parametrize(("state", "value"), [("closed", 0), ("half_open", 1), ("open", 2)])
def test_the_circuit_is_a_number_and_a_call_does_not_change_it(state: str, value: int) -> None:
    metrics = Metrics(
        events.CircuitChanged("default", "closed", state), events.LMCallFinished("default", 0.1, None, 1, 1)
    )
    assert metrics["circuit_state", {"endpoint": "default"}] == value


def test_restarts_are_counted_by_branch_not_by_path() -> None:
    paths = ["root/models/default", "root/programs/mail/self/pool/replica-0", "root/programs/mail", "elsewhere"]
    metrics = Metrics(*(events.ActorRestarted(path, 2, None, 0.0) for path in paths))
    restarts = [metrics["actor_restarts_total", {"branch": branch}] for branch in ("models", "programs", "other")]
    assert restarts == [1, 2, 1]


def test_routes_and_budgets_are_counted() -> None:
    metrics = Metrics(
        events.FellBack("cheap", "default", "spare", "lm_timeout"),
        events.CallHedged("cheap", "default", "spare", True),
        events.CallHedged("cheap", "default", "spare", False),
        events.StaleServed("cheap", "default", "circuit_open"),
        events.BudgetRefused("default", ("global", "run:1"), "budget_exceeded"),
        events.BudgetCharged("default", ("global", "run:1"), "settle", 1_500_000_000, 18),
        events.BudgetCharged("default", ("global",), "write_off", 250_000_000, 9),
        events.BudgetCharged("default", ("global",), "release", 0, 0),
    )
    assert metrics["route_fallbacks_total", {"route": "cheap", "endpoint": "default"}] == 1
    assert metrics["route_hedges_total", {"route": "cheap", "won": "yes"}] == 1
    assert metrics["route_stale_total", {"route": "cheap"}] == 1
    assert metrics["budget_refusals_total", {"endpoint": "default", "error": "budget_exceeded"}] == 1
    assert metrics["budget_dollars_total", {"endpoint": "default", "ending": "settle"}] == 1.5
    assert metrics["budget_dollars_total", {"endpoint": "default", "ending": "write_off"}] == 0.25


def test_memory_is_a_number_and_what_it_cost_is_counted() -> None:
    metrics = Metrics(
        events.MemoryLevelChanged("normal", "critical", 950, 1000),
        events.WorkRefused("critical", 0, 4, 9),
        events.WorkShed("batch", 2),
        events.MemoryLevelChanged("critical", "high", 820, 1000),
    )
    assert metrics["memory_level", {}] == 1
    assert metrics["work_refused_total", {"priority": "batch"}] == 9
    assert metrics["work_shed_total", {"priority": "batch"}] == 2


def test_dropped_messages_are_counted_by_reason() -> None:
    metrics = Metrics(events.MessageDropped("a", dict, "full"), events.MessageDropped("b", dict, "full"))
    assert metrics["messages_dropped_total", {"reason": "full"}] == 2


def test_the_number_of_series_is_bounded() -> None:
    many = range(MOST_NAMES + 50)
    metrics = Metrics(
        *(events.RunFinished(f"program-{number}", "1", 0.1, None, replayed=False) for number in many)
    )
    assert metrics["runs_total", {"program": "other", "outcome": "ok"}] == 50
    assert metrics["runs_total", {"program": f"program-{MOST_NAMES - 1}", "outcome": "ok"}] == 1


def test_every_event_can_be_counted_and_nothing_global_is() -> None:
    before = {metric.name for metric in REGISTRY.collect()}
    metrics = Metrics(*EVERY_EVENT)
    assert not any(name.startswith("repertory") for name in before)
    assert {metric.name for metric in REGISTRY.collect()} == before
    assert any(metric.name == "repertory_runs" for metric in metrics.registry.collect())
