"""The restart decision, without a loop or an actor."""

from dataclasses import dataclass
from typing import get_args

import pytest
from hypothesis import given
from hypothesis.strategies import DrawFn, booleans, composite, integers, lists, sampled_from

from repertory.actors import NORMAL, SHUTDOWN, Exit
from repertory.supervisors import ChildSpec, Plan, RestartIntensity, Restarts
from repertory.supervisors.child import Restart
from repertory.supervisors.decision import AutoShutdown, Strategy
from repertory.testing import FakeClock
from tests.supervisors.tree import ABNORMAL, Child

EXITS = (NORMAL, SHUTDOWN, ABNORMAL)
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


def restarts_of(
    *children: ChildSpec,
    strategy: Strategy = "one_for_one",
    auto_shutdown: AutoShutdown = "never",
    keeps: bool = True,
    intensity: int = 100,
) -> Restarts:
    restarts = Restarts(
        RestartIntensity(intensity, 10, FakeClock()),
        strategy=strategy,
        auto_shutdown=auto_shutdown,
        keeps=keeps,
    )
    for spec in children:
        restarts.add(spec.id, spec)
    return restarts


def spec(id: str, restart: Restart = "permanent", *, significant: bool = False) -> ChildSpec:
    return ChildSpec(id=id, start=Child, restart=restart, significant=significant)


def test_one_for_one_starts_the_one() -> None:
    restarts = restarts_of(spec("a"), spec("b"))
    assert restarts.ended("a", ABNORMAL) == Plan(start=("a",))
    assert [restarts.standing(id) for id in "ab"] == ["restarting", "running"]
    restarts.started("a")
    assert restarts.standing("a") == "running"


def test_one_for_all_stops_in_reverse_and_starts_in_order() -> None:
    restarts = restarts_of(*map(spec, "abcd"), strategy="one_for_all")
    assert restarts.ended("b", ABNORMAL) == Plan(stop=("d", "c", "a"), start=("a", "b", "c", "d"))


def test_rest_for_one_leaves_those_before_it_alone() -> None:
    restarts = restarts_of(*map(spec, "abcd"), strategy="rest_for_one")
    assert restarts.ended("c", ABNORMAL) == Plan(stop=("d",), start=("c", "d"))


def test_what_is_temporary_is_stopped_and_forgotten_with_its_group() -> None:
    restarts = restarts_of(spec("a"), spec("t", "temporary"), spec("b"), strategy="one_for_all")
    assert restarts.ended("b", ABNORMAL) == Plan(stop=("t", "a"), forget=("t",), start=("a", "b"))
    assert list(restarts.specs) == ["a", "b"]


def test_the_end_of_a_child_for_good() -> None:
    restarts = restarts_of(spec("a", "transient"), spec("t", "temporary"))
    assert restarts.ended("a", NORMAL) == Plan(keep="a")
    assert restarts.ended("t", ABNORMAL) == Plan(forget=("t",))
    assert (list(restarts.specs), restarts.standing("a"), restarts.running) == (["a"], "stopped", 0)


def test_one_that_keeps_nobody_forgets_all_that_end_for_good() -> None:
    restarts = restarts_of(spec("a", "transient"), spec("b"), keeps=False)
    assert restarts.ended("a", NORMAL) == Plan(forget=("a",))
    assert not restarts.stopped("b")
    assert not restarts.specs


def test_more_restarts_than_the_intensity_give_up() -> None:
    restarts = restarts_of(spec("a"), intensity=1)
    assert restarts.ended("a", ABNORMAL).end is None
    restarts.started("a")
    assert restarts.ended("a", ABNORMAL) == Plan(end="give_up")


def test_ends_that_are_followed_by_no_restart_do_not_count() -> None:
    restarts = restarts_of(*(spec(str(n), "temporary") for n in range(9)), spec("a"), intensity=1)
    for n in range(9):
        assert restarts.ended(str(n), ABNORMAL).end is None
    assert restarts.ended("a", ABNORMAL).start == ("a",)


def test_a_failed_start_makes_the_failed_child_the_restarting_one() -> None:
    restarts = restarts_of(*map(spec, "abc"), strategy="one_for_all")
    plan = restarts.ended("c", ABNORMAL)
    restarts.started("a")
    assert restarts.start_failed("b", plan) == Plan(later="b")
    assert [restarts.standing(id) for id in "abc"] == ["running", "restarting", "waiting"]
    assert restarts.resume("b") == Plan(stop=("a",), start=("a", "b", "c"))


def test_failed_starts_count() -> None:
    restarts = restarts_of(spec("a"), intensity=2)
    plan = restarts.ended("a", ABNORMAL)
    assert restarts.start_failed("a", plan) == Plan(later="a")
    assert restarts.start_failed("a", restarts.resume("a")) == Plan(end="give_up")


def test_a_restart_that_comes_later_counts_at_once_and_only_once() -> None:
    restarts = restarts_of(spec("a"), spec("b"), strategy="one_for_all", intensity=1)
    assert restarts.ended("a", ABNORMAL, later=True) == Plan(later="a")
    assert [restarts.standing(id) for id in "ab"] == ["restarting", "running"]
    assert restarts.resume("a") == Plan(stop=("b",), start=("a", "b"))
    for id in "ab":
        restarts.started(id)
    assert restarts.ended("b", ABNORMAL, later=True) == Plan(end="give_up")


@pytest.mark.parametrize(
    ("auto_shutdown", "ends"),
    [
        ("never", [None, None, None]),
        ("any_significant", [None, "shut_down"]),
        ("all_significant", [None, None, "shut_down"]),
    ],
)
def test_the_end_of_significant_children(auto_shutdown: AutoShutdown, ends: list[str | None]) -> None:
    restarts = restarts_of(
        spec("a", "transient"),
        spec("b", "transient", significant=True),
        spec("c", "temporary", significant=True),
        auto_shutdown=auto_shutdown,
    )
    assert [restarts.ended(id, NORMAL).end for id in "abc"[: len(ends)]] == ends


def test_a_significant_child_that_is_being_restarted_has_not_ended() -> None:
    restarts = restarts_of(
        spec("a", "transient", significant=True),
        spec("b", "transient", significant=True),
        auto_shutdown="all_significant",
    )
    restarts.ended("a", ABNORMAL)
    assert restarts.ended("b", NORMAL).end is None


# --- against a model ---


@dataclass(frozen=True)
class Case:
    strategy: Strategy
    specs: list[ChildSpec]
    down: set[str]
    ending: str
    exit: Exit


@composite
def cases(draw: DrawFn) -> Case:
    """Some children, some of them down, and the end of one that runs."""
    kinds = draw(lists(sampled_from(get_args(Restart)), min_size=1, max_size=8))
    specs = [spec(str(number), restart) for number, restart in enumerate(kinds)]
    ending = draw(sampled_from(specs)).id
    down = {each.id for each in specs if each.id != ending and each.restart != "temporary" and draw(booleans())}
    return Case(draw(sampled_from(STRATEGIES)), specs, down, ending, draw(sampled_from(EXITS)))


def prepared(case: Case, intensity: int = 100) -> Restarts:
    restarts = restarts_of(*case.specs, strategy=case.strategy, intensity=intensity)
    for id in case.down:
        restarts.stopped(id)
    return restarts


@given(case=cases())
def test_a_plan_is_what_the_rules_say_in_words(case: Case) -> None:
    restarts = prepared(case)
    plan = restarts.ended(case.ending, case.exit)
    by_id = {each.id: each for each in case.specs}
    order = list(by_id)
    ended = by_id[case.ending]
    again = ended.restart == "permanent" or (ended.restart == "transient" and case.exit.abnormal)
    first = order.index(case.ending)
    group = {"one_for_one": [case.ending], "one_for_all": order, "rest_for_one": order[first:]}[case.strategy]
    if not again:
        assert plan.stop == plan.start == ()
        assert plan.forget == ((case.ending,) if ended.restart == "temporary" else ())
        return
    assert list(plan.start) == [id for id in group if by_id[id].restart != "temporary"]
    assert list(plan.stop) == [id for id in reversed(group) if id != case.ending and id not in case.down]
    assert set(plan.forget) == {id for id in group if by_id[id].restart == "temporary"}
    assert list(restarts.specs) == [id for id in order if id not in plan.forget]


@given(case=cases(), failing=integers(0, 7), again=integers(1, 5))
def test_a_group_whose_starts_fail_for_a_while_runs_in_the_end(case: Case, failing: int, again: int) -> None:
    """However often which child fails: all whom the plan names run, nobody else is touched, each try counts."""
    restarts = prepared(case, intensity=again + 1)
    before = {id: restarts.standing(id) for id in restarts.specs}
    plan = restarts.ended(case.ending, case.exit)
    if not plan.start:
        return
    group = plan.start
    failed = group[failing % len(group)]
    for _ in range(again):
        for id in plan.start:
            if id == failed:
                break
            restarts.started(id)
        verdict = restarts.start_failed(failed, plan)
        assert verdict == Plan(later=failed)
        plan = restarts.resume(failed)
        assert set(plan.stop) <= {id for id in group if id != failed}
    for id in plan.start:
        restarts.started(id)
    for id in restarts.specs:
        assert restarts.standing(id) == ("running" if id in group else before[id])
    assert restarts.ended(failed, Exit("error", ValueError())).end in (
        ("give_up",) if restarts.specs[failed].restart != "temporary" else (None,)
    )


def test_who_has_no_life_is_not_stopped_with_its_group() -> None:
    restarts = restarts_of(*map(spec, "abc"), strategy="one_for_all")
    assert restarts.stopped("b")
    assert restarts.ended("a", ABNORMAL) == Plan(stop=("c",), start=("a", "b", "c"))
