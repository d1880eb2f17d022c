"""What can go from the log of an ended run, and what those who read it later still find."""

from typing import Any, TypeAlias

from hypothesis import given, settings
from hypothesis.strategies import DrawFn, booleans, composite, integers, lists, sampled_from

from repertory.runtime.compaction import Compaction
from repertory.runtime.history import RunHistory, StepKey
from repertory.runtime.run_log import RunEvent

Logged: TypeAlias = tuple[int, str, dict[str, Any]]


def call(step: str, attempt: int = 1, *, settled: tuple[tuple[str, int], ...] = ()) -> dict[str, Any]:
    place = {"step": step, "asked": "hash", "occurrence": 0, "key": f"key-{step}", "attempt": attempt}
    asked = {"endpoint": "e", "request": "r", "most": 9, "tokens": 9, "replies": [f'"reply {attempt}"']}
    return place | asked | {"settled": ended(settled)}


def outcome(step: str, error: str | None = None, *, settled: tuple[tuple[str, int], ...] = ()) -> dict[str, Any]:
    data = {"step": step, "asked": "hash", "occurrence": 0, "settled": ended(settled)}
    return data | ({"error": {"code": error}} if error else {"outputs": {"step": step}})


def ended(attempts: tuple[tuple[str, int], ...]) -> list[list[Any]]:
    return [[*attempt, "paid", 5, 7, 11] for attempt in attempts]


def response(step: str, attempt: int = 1) -> dict[str, Any]:
    return {"key": f"key-{step}", "attempt": attempt, "id": "resp-1"}


def superseded(log: list[Logged]) -> list[int]:
    compaction = Compaction()
    for id, kind, data in log:
        compaction.take(id, kind, data)
    return sorted(compaction.superseded())


def numbered(*events: tuple[str, dict[str, Any]]) -> list[Logged]:
    return [(id, kind, data) for id, (kind, data) in enumerate(events, 1)]


def test_the_calls_of_a_step_with_an_outcome_can_go() -> None:
    log = numbered(
        ("call", call("a")),
        ("response", response("a")),
        ("call", call("a", 2, settled=(("key-a", 1),))),
        ("step", outcome("a", settled=(("key-a", 2),))),
    )
    assert superseded(log) == [1, 2, 3]


def test_the_calls_of_a_step_that_failed_stay_as_it_may_be_tried_again() -> None:
    assert superseded(numbered(("call", call("a")), ("step", outcome("a", "lm_timeout")))) == []


def test_the_calls_of_a_step_that_failed_at_first_can_go() -> None:
    log = numbered(
        *(("call", call("a")), ("step", outcome("a", "lm_timeout"))),
        *(("call", call("a")), ("step", outcome("a"))),
    )
    assert superseded(log) == [1, 3]


def test_the_calls_of_a_step_without_an_outcome_stay() -> None:
    log = numbered(("call", call("a")), ("response", response("a")), ("call", call("b")), ("step", outcome("b")))
    assert superseded(log) == [3]


def test_another_occurrence_of_a_step_is_another_step() -> None:
    again = call("a") | {"occurrence": 1, "key": "key-a1"}
    assert superseded(numbered(("call", call("a")), ("call", again), ("step", outcome("a")))) == [1]


def test_a_call_that_tells_the_end_of_another_that_stays_stays_too() -> None:
    log = numbered(("call", call("a")), ("call", call("b", settled=(("key-a", 1),))), ("step", outcome("b")))
    assert superseded(log) == []


def found(log: list[Logged], *, again: bool) -> object:
    """What whoever goes on with the run finds, be it after its end or to try it again."""
    history = RunHistory.of(RunEvent(id, kind, data, 0.0) for id, kind, data in log)
    if again:
        history.forget_failures()
    steps = [StepKey(step, "hash", 0) for step in "abcd"]
    open_steps = [step for step in steps if step not in history.steps]
    return history.steps, history.unsettled(), [history.calls_of(step) for step in open_steps]


@composite
def logs(draw: DrawFn) -> list[Logged]:
    """Calls of a few steps, each settled with some later event or never, and outcomes of some steps."""
    events: list[tuple[str, dict[str, Any]]] = []
    under_way: list[tuple[str, int]] = []
    for step in draw(lists(sampled_from("abcd"), max_size=12)):
        settled = tuple(place for place in under_way if draw(booleans()))
        under_way = [place for place in under_way if place not in settled]
        match draw(integers(0, 3)):
            case 0:
                events.append(
                    ("step", outcome(step, draw(sampled_from([None, "x", "step_cancelled"])), settled=settled))
                )
            case 1:
                events.append(("response", response(step)))
                under_way += settled
            case _:
                attempt = len(events)
                events.append(("call", call(step, attempt, settled=settled)))
                under_way.append((f"key-{step}", attempt))
    return numbered(*events)


@settings(max_examples=300)
@given(logs(), booleans())
def test_whoever_goes_on_with_the_run_finds_the_same(log: list[Logged], again: bool) -> None:
    gone = superseded(log)
    left = [event for event in log if event[0] not in gone]
    assert found(left, again=again) == found(log, again=again)
    last_outcome = {data["step"]: data for _, kind, data in log if kind == "step"}
    done = {step for step, data in last_outcome.items() if "outputs" in data}
    calls_left = [data for _, kind, data in left if kind == "call" and data["step"] in done]
    assert all(data["settled"] for data in calls_left)
