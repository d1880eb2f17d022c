from hypothesis import given
from hypothesis.strategies import integers, lists, sampled_from, tuples

from repertory.providers.limits.deadlines import Deadlines


def test_the_earliest_deadline_is_that_of_one_who_still_waits() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.add("early", 1.0)
    deadlines.add("late", 2.0)
    assert deadlines.next() == 1.0
    deadlines.discard("early")
    assert deadlines.next() == 2.0
    deadlines.discard("late")
    assert deadlines.next() is None


def test_a_deadline_is_due_when_it_is_reached() -> None:
    deadlines: Deadlines[str] = Deadlines()
    deadlines.add("one", 1.0)
    assert deadlines.due(0.999) == []
    assert deadlines.due(1.0) == ["one"]
    assert deadlines.due(1.0) == []


def test_those_that_left_take_no_room() -> None:
    deadlines: Deadlines[int] = Deadlines()
    for number in range(10_000):
        deadlines.add(number, 1e9 - number)
        deadlines.discard(number)
    assert len(deadlines._heap) <= Deadlines.SLACK


class Untidy(Deadlines[int]):
    SLACK = 2  # so that few steps are enough to be tidied up after


@given(lists(tuples(sampled_from(["add", "add", "discard", "due"]), integers(0, 50)), max_size=300))
def test_agrees_with_a_list_that_is_sorted_each_time(steps: list[tuple[str, int]]) -> None:
    deadlines = Untidy()
    waiting: list[tuple[int, int]] = []
    for item, (action, number) in enumerate(steps):
        if action == "add":
            deadlines.add(item, number)
            waiting.append((number, item))
        elif action == "discard" and waiting:
            deadlines.discard(waiting.pop(number % len(waiting))[1])
        elif action == "due":
            waiting.sort()
            due = [each for deadline, each in waiting if deadline <= number]
            assert deadlines.due(number) == due
            waiting = [each for each in waiting if each[0] > number]
        assert deadlines.next() == min((deadline for deadline, _ in waiting), default=None)
