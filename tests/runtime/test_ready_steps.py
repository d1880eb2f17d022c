import pytest
from hypothesis import given
from hypothesis.strategies import lists, sampled_from

from repertory.runtime.ready_steps import ReadySteps


def test_the_heaviest_comes_first_and_of_equals_the_longest_ready() -> None:
    ready: ReadySteps[str] = ReadySteps()
    for step, weight in {"a": 1.0, "b": 3.0, "c": 1.0, "d": 3.0, "e": 2.0}.items():
        ready.add(step, weight)
    assert [ready.pop() for _ in range(len(ready))] == ["b", "d", "e", "a", "c"]


def test_there_is_nothing_to_take_from_none() -> None:
    ready: ReadySteps[str] = ReadySteps()
    ready.add("a", 1.0)
    ready.remove("a", 1.0)
    assert not ready
    with pytest.raises(IndexError):
        ready.pop()


@given(lists(sampled_from(["add 1", "add 2", "add 3", "pop", "remove oldest", "remove newest"])))
def test_agrees_with_a_list_that_is_sorted_each_time(history: list[str]) -> None:
    ready: ReadySteps[int] = ReadySteps()
    model: list[tuple[float, int]] = []  # negated weight, step: those ready longer have lower numbers
    for number, act in enumerate(history):
        if act.startswith("add"):
            weight = float(act[-1])
            ready.add(number, weight)
            model.append((-weight, number))
        elif model and act == "pop":
            model.sort()
            assert ready.pop() == model.pop(0)[1]
        elif model:
            model.sort(key=lambda entry: entry[1])
            negated, step = model.pop(0 if act == "remove oldest" else -1)
            ready.remove(step, -negated)
        assert len(ready) == len(model)
    assert [ready.pop() for _ in model] == [step for _, step in sorted(model)]
