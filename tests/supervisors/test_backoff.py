"""Waits before restarts: how long they are, and what happens meanwhile."""

import asyncio
import itertools
from random import Random

import pytest
from hypothesis import given
from hypothesis.strategies import floats, integers

from repertory.actors import ActorSystem
from repertory.errors import ActorDown, ConfigError
from repertory.events import ActorRestarted, Event, RestartFailed
from repertory.supervisors import Backoff, ChildSpec, RestartChild, StopChild, TerminateChild
from tests.actors.kernel import Echo, of, settle
from tests.supervisors.tree import ABNORMAL, Child, Starts, child, end, restarts, statuses, supervise

STEADY = Backoff(initial=1, maximum=8, factor=2, jitter=0)


def test_waits_double_up_to_the_maximum() -> None:
    assert [STEADY.delay(restarts, Random(1)) for restarts in range(6)] == [1, 2, 4, 8, 8, 8]


def test_a_factor_of_one_makes_all_waits_alike() -> None:
    even = Backoff(initial=3, maximum=10, factor=1, jitter=0)
    assert [even.delay(restarts, Random(1)) for restarts in (0, 1, 10**9)] == [3, 3, 3]


def test_who_lived_as_long_as_the_longest_wait_begins_anew() -> None:
    assert [STEADY.streak(5, lived) for lived in (0, 7.9, 8, 100)] == [5, 5, 0, 0]


@given(
    initial=floats(0.001, 10),
    more=floats(0, 100),
    factor=floats(1, 10),
    jitter=floats(0, 1),
    restarts=integers(0, 10_000),
    seed=integers(0, 100),
)
def test_a_wait_is_within_its_bounds_and_repeatable(
    initial: float, more: float, factor: float, jitter: float, restarts: int, seed: int
) -> None:
    backoff = Backoff(initial=initial, maximum=initial + more, factor=factor, jitter=jitter)
    without = Backoff(initial=initial, maximum=initial + more, factor=factor, jitter=0)
    longest = without.delay(restarts, Random(seed))
    wait = backoff.delay(restarts, Random(seed))
    assert longest * (1 - jitter) <= wait <= longest <= backoff.maximum
    assert wait == backoff.delay(restarts, Random(seed))
    assert longest <= without.delay(restarts + 1, Random(seed))


@pytest.mark.parametrize(
    ("argument", "value"), [("initial", 0), ("maximum", 0.01), ("factor", 0.5), ("jitter", 2)]
)
def test_waits_that_make_no_sense_are_refused(argument: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"Backoff: {argument} = {value!r}"):
        Backoff(**{argument: value})


async def test_a_child_waits_longer_from_restart_to_restart(system: ActorSystem, events: list[Event]) -> None:
    top = await supervise(system, [child("a"), child("b")], intensity=9, backoff=STEADY)
    for number, wait in enumerate((1, 2, 4), 1):
        system.ref("top/a").kill(ValueError("broken"))
        before = system.clock.monotonic()
        asked = asyncio.create_task(system.ref("top/a").ask(Echo(1), timeout=None))
        await asyncio.sleep(wait / 2)
        assert await statuses(top) == {"a": "restarting", "b": "running"}  # and it answers
        assert await asked == 1
        assert system.clock.monotonic() - before == pytest.approx(wait, abs=0.1)
        assert await restarts(top) == {"a": number, "b": 0}
    assert [event.waited for event in of(ActorRestarted, events)] == pytest.approx([1, 2, 4], abs=0.1)
    await asyncio.sleep(8)
    await end(system.ref("top/a"), ABNORMAL)
    await asyncio.sleep(1)
    assert await statuses(top) == {"a": "running", "b": "running"}


async def test_failed_starts_wait_too(system: ActorSystem) -> None:
    starts = Starts(lambda number: number in (2, 3))
    await supervise(system, [ChildSpec(id="a", start=lambda: Child(None, starts))], backoff=STEADY)
    system.ref("top/a").kill(ValueError("broken"))
    before = system.clock.monotonic()
    assert await system.ref("top/a").ask(Echo(1), timeout=None) == 1
    assert system.clock.monotonic() - before == pytest.approx(1 + 2 + 4, abs=0.1)


async def test_a_group_goes_on_until_its_restart_begins(system: ActorSystem) -> None:
    log: list[object] = []
    top = await supervise(system, [child(id, log) for id in "ab"], strategy="one_for_all", backoff=STEADY)
    log.clear()
    await end(system.ref("top/a"), ABNORMAL)
    assert await system.ref("top/b").ask(Echo(1)) == 1
    assert await statuses(top) == {"a": "restarting", "b": "running"}
    await asyncio.sleep(1)
    assert log == ["-top/a error", 1, "-top/b shutdown", "+top/a", "+top/b"]


async def test_a_sibling_whose_restart_comes_first_takes_the_waiting_one_along(system: ActorSystem) -> None:
    log: list[object] = []
    await supervise(system, [child(id, log) for id in "ab"], strategy="one_for_all", backoff=STEADY)
    await end(system.ref("top/a"), ABNORMAL)
    await asyncio.sleep(0.5)
    await end(system.ref("top/b"), ABNORMAL)
    await asyncio.sleep(0.6)
    assert system.ref("top/a").running
    assert system.ref("top/b").running
    log.clear()
    await asyncio.sleep(10)
    assert log == []  # no wait is left over


async def test_a_stop_in_the_wait_does_not_hang(system: ActorSystem) -> None:
    forever = Backoff(initial=1e6, maximum=1e6)
    top = await supervise(system, [child(id) for id in "abc"], backoff=forever)
    for id in "abc":
        await end(system.ref(f"top/{id}"), ABNORMAL)
    waiting = asyncio.create_task(system.ref("top/c").ask(Echo(1), timeout=None))
    before = system.clock.monotonic()
    assert await top.ask(StopChild("a")) is True
    await top.ask(TerminateChild("b"))
    assert await (await top.ask(RestartChild("b"))).ask(Echo(1)) == 1
    await system.stop(None)
    with pytest.raises(ActorDown):
        await waiting
    await settle()
    assert system.clock.monotonic() - before < 1


async def test_a_wait_that_was_called_off_does_not_cut_the_next_one_short(system: ActorSystem) -> None:
    top = await supervise(system, [child("a")], backoff=STEADY)
    await end(system.ref("top/a"), ABNORMAL)  # due in 1 s
    await asyncio.sleep(0.5)
    await top.ask(TerminateChild("a"))
    await top.ask(RestartChild("a"))
    await end(system.ref("top/a"), ABNORMAL)  # due in 2 s
    await asyncio.sleep(1.5)
    assert await statuses(top) == {"a": "restarting"}
    await asyncio.sleep(1)
    assert await statuses(top) == {"a": "running"}


async def test_a_wait_that_a_siblings_restart_made_needless_does_not_cut_the_next_one_short(
    system: ActorSystem,
) -> None:
    top = await supervise(system, [child(id) for id in "ab"], strategy="one_for_all", backoff=STEADY)
    await end(system.ref("top/a"), ABNORMAL)  # due in 1 s
    await asyncio.sleep(0.5)
    await end(system.ref("top/b"), ABNORMAL)  # due in 1 s, that is 0.5 s after a, which takes it along
    await asyncio.sleep(0.6)
    await end(system.ref("top/b"), ABNORMAL)  # due in 2 s
    await asyncio.sleep(1)
    assert await statuses(top) == {"a": "running", "b": "restarting"}
    await asyncio.sleep(1.1)
    assert await statuses(top) == {"a": "running", "b": "running"}


async def test_a_child_that_waits_for_its_group_is_not_restarted_by_its_own_wait(system: ActorSystem) -> None:
    """A group whose restart failed is tried again when the child that failed is due, and not before."""
    starts = Starts(lambda number: number == 2)
    faltering = ChildSpec(id="a", start=lambda: Child(None, starts))
    top = await supervise(system, [faltering, child("b"), child("c")], strategy="one_for_all", backoff=STEADY)
    await end(system.ref("top/c"), ABNORMAL)  # due at 1 s; then a fails to start, and is due at 2 s
    await asyncio.sleep(0.5)
    await end(system.ref("top/b"), ABNORMAL)  # due at 1.5 s
    await asyncio.sleep(1.2)
    assert await statuses(top) == {"a": "restarting", "b": "waiting", "c": "waiting"}
    await asyncio.sleep(0.5)
    assert await statuses(top) == dict.fromkeys("abc", "running")
    assert starts.count == 3


async def test_a_start_that_takes_as_long_as_the_longest_wait_is_no_life(system: ActorSystem) -> None:
    class Hanging(Child):
        async def started(self) -> None:
            if self.incarnation > 1:
                await asyncio.Event().wait()

    failures: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, RestartFailed):
            failures.append(system.clock.monotonic())

    longest = STEADY.maximum
    system.hooks.add(note)
    await supervise(system, [ChildSpec(id="a", start=Hanging, start_timeout=longest)], backoff=STEADY, period=1)
    await end(system.ref("top/a"), ABNORMAL)
    await asyncio.sleep(6 * longest)
    waits = [later - earlier - longest for earlier, later in itertools.pairwise(failures)]
    assert waits[:2] == pytest.approx([2, 4], abs=0.1)
