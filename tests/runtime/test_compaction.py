"""What can go from the log of an ended run, and what those who read it later still find."""

from typing import Any, TypeAlias

from hypothesis import given
from hypothesis.strategies import DrawFn, booleans, composite, integers, lists, sampled_from

from repertory.runtime.compaction import Compaction

Logged: TypeAlias = tuple[int, str, dict[str, Any]]


def call(step: str, attempt: int = 1, *, settled: tuple[tuple[str, int], ...] = ()) -> dict[str, Any]:
    data = {"step": step, "asked": "hash", "occurrence": 0, "key": f"key-{step}", "attempt": attempt}
    return data | {"settled": [[*each, 5, 7] for each in settled]}


def outcome(step: str, error: str | None = None, *, settled: tuple[tuple[str, int], ...] = ()) -> dict[str, Any]:
    data = {"step": step, "asked": "hash", "occurrence": 0, "error": {"code": error} if error else None}
    return data | {"settled": [[*each, 5, 7] for each in settled]}


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


def test_the_calls_of_a_step_that_failed_can_go() -> None:
    assert superseded(numbered(("call", call("a")), ("step", outcome("a", "lm_timeout")))) == [1]


def test_the_calls_of_a_step_without_an_outcome_stay() -> None:
    log = numbered(("call", call("a")), ("response", response("a")), ("call", call("b")), ("step", outcome("b")))
    assert superseded(log) == [3]


def test_a_step_that_was_given_up_has_no_outcome() -> None:
    assert superseded(numbered(("call", call("a")), ("step", outcome("a", "step_cancelled")))) == []


def test_another_occurrence_of_a_step_is_another_step() -> None:
    again = call("a") | {"occurrence": 1, "key": "key-a1"}
    assert superseded(numbered(("call", call("a")), ("call", again), ("step", outcome("a")))) == [1]


def test_a_call_that_tells_the_end_of_another_that_stays_stays_too() -> None:
    log = numbered(("call", call("a")), ("call", call("b", settled=(("key-a", 1),))), ("step", outcome("b")))
    assert superseded(log) == []


def unresolved(log: list[Logged]) -> tuple[set[str], set[tuple[str, int]]]:
    """What whoever goes on with the run finds: the steps with an outcome, and the calls of unknown fate."""
    done: set[str] = set()
    open_calls: dict[tuple[str, int], str] = {}
    for _, kind, data in log:
        for key, attempt, *_ in data.get("settled", ()):
            open_calls.pop((key, attempt), None)
        if kind == "call":
            open_calls[data["key"], data["attempt"]] = data["step"]
        elif kind == "step" and (data["error"] or {}).get("code") != "step_cancelled":
            done.add(data["step"])
    return done, {place for place, step in open_calls.items() if step not in done}


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


@given(logs())
def test_whoever_goes_on_with_the_run_finds_the_same(log: list[Logged]) -> None:
    gone = superseded(log)
    left = [event for event in log if event[0] not in gone]
    assert unresolved(left) == unresolved(log)
    done, _ = unresolved(log)
    settles_another = [event for event in left if event[1] == "call" and event[2]["settled"]]
    assert all(
        event[2]["step"] not in done for event in left if event[1] == "call" and event not in settles_another
    )
