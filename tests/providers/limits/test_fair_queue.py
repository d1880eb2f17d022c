from collections import Counter, deque
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis.strategies import DataObject, data, integers, lists, sampled_from

from repertory.providers.limits.fair_queue import FairQueue
from repertory.providers.messages import Priority

PRIORITIES: tuple[Priority, ...] = ("interactive", "normal", "batch")


def filled(queue: FairQueue[str], caller: str, priority: Priority, items: int) -> None:
    for number in range(items):
        queue.add(f"{caller}{number}", caller, priority)


def test_a_caller_is_served_in_order() -> None:
    queue: FairQueue[str] = FairQueue()
    filled(queue, "a", "normal", 3)
    assert [queue.pop() for _ in range(3)] == ["a0", "a1", "a2"]


def test_callers_take_turns_however_many_items_they_have() -> None:
    queue: FairQueue[str] = FairQueue()
    filled(queue, "a", "normal", 100)
    filled(queue, "b", "normal", 3)
    assert [queue.pop() for _ in range(8)] == ["a0", "b0", "a1", "b1", "a2", "b2", "a3", "a4"]


def test_classes_share_turns_by_weight() -> None:
    queue: FairQueue[str] = FairQueue()
    for priority in PRIORITIES:
        filled(queue, priority[0], priority, 100)
    for _ in range(4):
        assert Counter(queue.pop()[0] for _ in range(21)) == {"i": 16, "n": 4, "b": 1}


def test_an_interactive_item_comes_before_a_long_line_of_batch_items() -> None:
    queue: FairQueue[str] = FairQueue()
    filled(queue, "b", "batch", 100)
    for _ in range(50):
        queue.pop()
    queue.add("now", "someone", "interactive")
    assert queue.pop() == "now"


def test_a_class_that_was_empty_has_no_turns_to_make_up_for() -> None:
    queue: FairQueue[str] = FairQueue()
    filled(queue, "b", "batch", 1000)
    for _ in range(500):
        queue.pop()
    filled(queue, "i", "interactive", 1000)
    assert Counter(queue.pop()[0] for _ in range(170))["b"] in (9, 10)  # one of 17


def test_a_caller_that_leaves_and_comes_back_gets_the_last_place_of_the_round() -> None:
    queue: FairQueue[str] = FairQueue()
    filled(queue, "a", "normal", 3)
    filled(queue, "b", "normal", 3)
    queue.add("c0", "c", "normal")
    assert queue.remove("c0", "c", "normal")
    queue.add("c1", "c", "normal")
    assert [queue.pop() for _ in range(3)] == ["a0", "b0", "c1"]


def test_what_is_not_there_cannot_be_removed() -> None:
    queue: FairQueue[str] = FairQueue()
    filled(queue, "a", "normal", 1)
    assert not queue.remove("a0", "a", "batch")
    assert not queue.remove("a0", "b", "normal")
    assert queue.remove("a0", "a", "normal")
    assert not queue.remove("a0", "a", "normal")
    assert len(queue) == 0


def test_an_empty_queue_has_no_head() -> None:
    with pytest.raises(IndexError, match="empty"):
        FairQueue[str]().head()


@given(lists(sampled_from(PRIORITIES), max_size=60), integers(0, 60), sampled_from(PRIORITIES))
def test_the_place_of_a_lone_caller_is_foretold_but_for_turns_that_are_due_together(
    others: list[Priority], turns: int, priority: Priority
) -> None:
    queue: FairQueue[str] = FairQueue()
    for number, each in enumerate(others):
        queue.add(f"{number}", "a", each)
    for _ in range(min(turns, len(others))):
        queue.pop()
    foretold = queue.ahead("a", priority)
    queue.add("mine", "a", priority)
    ahead = [queue.pop() for _ in range(len(queue))].index("mine")
    assert foretold <= ahead <= foretold + 2


def test_a_newcomer_waits_for_one_turn_of_each_other_caller() -> None:
    queue: FairQueue[str] = FairQueue()
    for caller in "abc":
        filled(queue, caller, "normal", 50)
    assert queue.ahead("d", "normal") == 3
    assert queue.ahead("a", "normal") == 150


class Fairness(RuleBasedStateMachine):
    """Nothing is lost or doubled, and turns are shared as promised, whatever comes and goes."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[int] = FairQueue()
        self.lanes: dict[tuple[Priority, str], deque[int]] = {
            (priority, caller): deque() for priority in PRIORITIES for caller in "abcd"
        }
        self.made = 0
        self.turns: Counter[tuple[str, str, str]] = Counter()  # of the first of two, while both have items
        self.since: Counter[Priority] = Counter()  # turns of others while the class had items
        self.foretold: dict[int, int] = {}  # turns that must come before the item

    @rule(priority=sampled_from(PRIORITIES), caller=sampled_from("abcd"), items=integers(1, 5))
    def add(self, priority: Priority, caller: str, items: int) -> None:
        for _ in range(items):
            self.made += 1
            self.foretold[self.made] = self.queue.ahead(caller, priority)
            self.queue.add(self.made, caller, priority)
            self.lanes[priority, caller].append(self.made)

    @precondition(lambda self: self.made)
    @rule(data=data())
    def remove(self, data: DataObject) -> None:
        item = data.draw(integers(1, self.made))
        for (priority, caller), lane in self.lanes.items():
            there = item in lane
            assert self.queue.remove(item, caller, priority) == there
            if there:
                lane.remove(item)
        self.foretold.clear()  # those behind it may come earlier now

    @precondition(lambda self: any(self.lanes.values()))
    @rule(turns=integers(1, 30))
    def pop(self, turns: int) -> None:
        for _ in range(min(turns, len(self.queue))):
            busy = [lane for lane, items in self.lanes.items() if items]
            head = self.queue.head()
            item = self.queue.pop()
            assert item == head
            served = next(lane for lane in busy if self.lanes[lane][0] == item)
            self.lanes[served].popleft()
            assert self.foretold.pop(item, 0) <= 0
            for other in self.foretold:
                self.foretold[other] -= 1
            self.count(served, busy)

    def count(self, served: tuple[Priority, str], busy: list[tuple[Priority, str]]) -> None:
        for priority in {priority for priority, _ in busy}:
            self.since[priority] = 0 if priority == served[0] else self.since[priority] + 1
        # Until a batch item is due that was due 16 later, 17 interactive and 5 normal ones may be due, the last of
        # both at the same time; until a normal one is that was due 4 later, 5 interactive ones and a batch one.
        assert self.since["batch"] <= 22
        assert self.since["normal"] <= 6
        priority, caller = served
        for one, other in combinations(sorted(caller for each, caller in busy if each == priority), 2):
            if caller in (one, other):
                self.turns[priority, one, other] += 1 if caller == one else -1
            assert abs(self.turns[priority, one, other]) <= 1

    @invariant()
    def nothing_is_lost(self) -> None:
        assert len(self.queue) == sum(map(len, self.lanes.values()))
        assert self.queue.callers() == sum(map(bool, self.lanes.values()))
        assert self.queue.waiting() == {
            priority: sum(len(items) for lane, items in self.lanes.items() if lane[0] == priority)
            for priority in PRIORITIES
        }

    @invariant()
    def who_pauses_starts_anew(self) -> None:
        for priority, one, other in list(self.turns):
            mine, others = self.lanes[priority, one], self.lanes[priority, other]  # type: ignore[index]  # a plain str
            if not (mine and others):
                del self.turns[priority, one, other]
        for priority in PRIORITIES:
            if not any(items for lane, items in self.lanes.items() if lane[0] == priority):
                self.since[priority] = 0


TestFairness = Fairness.TestCase
