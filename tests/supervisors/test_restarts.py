"""Restarts: what waits for them, what they lose, and what happens when they fail."""

import asyncio
from collections import Counter

import pytest

from repertory.actors import ActorSystem, Exit
from repertory.errors import (
    ActorDown,
    DeadlineExceeded,
    InjectedCrash,
    MailboxFull,
    StartFailed,
)
from repertory.events import (
    ActorCrashed,
    ActorRestarted,
    Event,
    RestartFailed,
    StuckChild,
)
from repertory.supervisors import Backoff, ChildSpec, StopChild, TerminateChild, WhichChildren
from tests.actors.kernel import Echo, Gate, Hold, Raise, Withstand, of, settle
from tests.supervisors.tree import Child, Starts, child, children_of, statuses, supervise


async def test_the_crashing_message_is_answered_and_not_handled_again(
    system: ActorSystem, events: list[Event]
) -> None:
    log: list[object] = []
    await supervise(system, [child("a", log)])
    ref = system.ref("top/a")
    error = InjectedCrash("on purpose")
    crashing = asyncio.create_task(ref.ask(Raise(error)))
    following = [asyncio.create_task(ref.ask(Echo(value))) for value in range(3)]
    assert await asyncio.gather(*following) == [0, 1, 2]
    with pytest.raises(InjectedCrash):
        await crashing
    assert log == ["+top/a", "-top/a error", "+top/a", 0, 1, 2]
    assert len(of(ActorCrashed, events)) == len(of(ActorRestarted, events)) == 1


async def test_a_crash_with_1_000_asks_queued_gives_each_exactly_one_outcome(
    system: ActorSystem, events: list[Event]
) -> None:
    log: list[object] = []
    await supervise(system, [child("a", log)], intensity=20)
    ref = system.ref("top/a")
    messages = [
        Raise(ValueError(f"crash {number}")) if number % 100 == 50 else Echo(number) for number in range(1000)
    ]
    outcomes = await asyncio.gather(*(ref.ask(message) for message in messages), return_exceptions=True)
    for number, outcome in enumerate(outcomes):
        if number % 100 == 50:
            assert isinstance(outcome, ValueError)
            assert str(outcome) == f"crash {number}"
        else:
            assert outcome == number
    assert [entry for entry in log if isinstance(entry, int)] == [n for n in range(1000) if n % 100 != 50]
    assert len(of(ActorRestarted, events)) == 10


async def test_a_kill_with_1_000_asks_queued_costs_only_the_one_at_work(system: ActorSystem) -> None:
    await supervise(system, [child("a")])
    ref = system.ref("top/a")
    gate = Gate()
    held = asyncio.create_task(ref.ask(Hold(gate)))
    await gate.entered.wait()
    asks = [asyncio.create_task(ref.ask(Echo(number))) for number in range(1000)]
    await asyncio.sleep(0)
    ref.kill(InjectedCrash("on purpose"))
    assert await asyncio.gather(*asks) == list(range(1000))
    with pytest.raises(ActorDown):
        await held


async def test_asks_between_two_lives_wait_within_bound_and_deadline(system: ActorSystem) -> None:
    gate = Gate()

    class Slow(Child):
        async def started(self) -> None:
            if self.incarnation == 2:
                await self.hold(Hold(gate))
            await super().started()

    await supervise(system, [ChildSpec(id="a", start=Slow, mailbox=2)])
    ref = system.ref("top/a")
    ref.kill(ValueError("broken"))
    await gate.entered.wait()
    assert not ref.running
    expiring = asyncio.create_task(ref.ask(Echo(1), timeout=1))
    waiting = asyncio.create_task(ref.ask(Echo(2), timeout=None))
    await asyncio.sleep(0)
    with pytest.raises(MailboxFull):
        await ref.ask(Echo(3))
    with pytest.raises(DeadlineExceeded):
        await expiring
    gate.open.set()
    assert await waiting == 2


async def test_a_handler_that_swallows_its_cancellation_is_replaced(
    system: ActorSystem, events: list[Event]
) -> None:
    top = await supervise(system, [child("a")])
    ref = system.ref("top/a")
    gate = Gate()
    stuck = asyncio.create_task(ref.ask(Withstand(gate)))
    await gate.entered.wait()
    queued = asyncio.create_task(ref.ask(Echo(1)))
    ref.kill(InjectedCrash("on purpose"))
    with pytest.raises(ActorDown):
        await stuck
    assert await queued == 1  # by the replacement, while the first life is still stuck
    assert gate.cancelled
    assert of(StuckChild, events) == [StuckChild("top/a", 1)]
    assert (await children_of(top))["a"].restarts == 1
    gate.open.set()
    await settle()
    assert len(of(ActorCrashed, events)) == 1


async def test_a_restart_that_fails_is_tried_again(system: ActorSystem, events: list[Event]) -> None:
    starts = Starts(lambda number: number in (2, 3))
    top = await supervise(system, [ChildSpec(id="a", start=lambda: Child(None, starts))])
    ref = system.ref("top/a")
    error = ValueError("broken")
    ref.kill(error)
    assert await ref.ask(Echo(1)) == 1
    children = await children_of(top)
    assert (children["a"].restarts, children["a"].status) == (3, "running")
    assert [type(event.cause) for event in of(RestartFailed, events)] == [StartFailed, StartFailed]
    assert [(event.incarnation, event.cause) for event in of(ActorRestarted, events)] == [(4, error)]


async def test_in_a_restart_loop_the_supervisor_answers_between_the_tries(system: ActorSystem) -> None:
    starts = Starts(lambda number: number >= 2)
    top = await supervise(system, [child("b"), ChildSpec(id="a", start=lambda: Child(None, starts))], intensity=50)
    system.ref("top/a").kill(ValueError("broken"))
    seen: list[int] = []
    while not seen or seen[-1] < 40:
        children = await children_of(top)
        if children["a"].restarts:
            assert children["a"].status == "restarting"
            assert isinstance(children["a"].last_error, StartFailed)
            seen.append(children["a"].restarts)
        assert await system.ref("top/b").ask(Echo(1)) == 1
    assert len(set(seen)) >= 20


@pytest.mark.parametrize("turns", range(12))
async def test_in_a_restart_loop_stopping_the_system_does_not_hang(system: ActorSystem, turns: int) -> None:
    starts = Starts(lambda number: number >= 2)
    await supervise(system, [ChildSpec(id="a", start=lambda: Child(None, starts))], intensity=1000)
    ref = system.ref("top/a")
    ref.kill(ValueError("broken"))
    asked = asyncio.create_task(ref.ask(Echo(1)))
    for _ in range(turns):
        await asyncio.sleep(0)
    await system.stop(None)
    with pytest.raises(ActorDown):
        await asked


@pytest.mark.parametrize("turns", range(6))
async def test_in_a_restart_loop_the_child_can_be_stopped(system: ActorSystem, turns: int) -> None:
    starts = Starts(lambda number: number >= 2)
    top = await supervise(system, [ChildSpec(id="a", start=lambda: Child(None, starts))], intensity=1000)
    system.ref("top/a").kill(ValueError("broken"))
    for _ in range(turns):
        await asyncio.sleep(0)
    assert await top.ask(StopChild("a")) is True
    count = starts.count
    await settle()
    assert starts.count == count
    assert await statuses(top) == {}


async def test_a_restart_that_hangs_is_cut_off_and_counts(system: ActorSystem, events: list[Event]) -> None:
    class Hanging(Child):
        async def started(self) -> None:
            if self.incarnation == 2:
                await asyncio.Event().wait()

    await supervise(system, [ChildSpec(id="a", start=Hanging, start_timeout=3)])
    ref = system.ref("top/a")
    ref.kill(ValueError("broken"))
    assert await ref.ask(Echo(1)) == 1
    await settle()
    (failed,) = of(RestartFailed, events)
    assert isinstance(failed.cause.__cause__, TimeoutError)
    (restarted,) = of(ActorRestarted, events)
    assert restarted.waited == pytest.approx(3, abs=0.1)


async def test_a_stop_during_a_restart_that_hangs_does_not_hang(system: ActorSystem) -> None:
    gate = Gate()

    class Hanging(Child):
        async def started(self) -> None:
            if self.incarnation == 2:
                await self.hold(Hold(gate))

    await supervise(system, [ChildSpec(id="a", start=Hanging)])
    system.ref("top/a").kill(ValueError("broken"))
    await gate.entered.wait()
    await system.stop(None)
    assert gate.cancelled


async def test_a_retry_is_not_lost_when_the_supervisors_own_mailbox_is_full(system: ActorSystem) -> None:
    gate = Gate()

    class Faltering(Child):
        async def started(self) -> None:
            if self.incarnation == 2:
                await self.hold(Hold(gate))
                raise ValueError("second start")

    top = await supervise(system, [ChildSpec(id="a", start=Faltering)], mailbox=1)
    ref = system.ref("top/a")
    ref.kill(ValueError("broken"))
    await gate.entered.wait()
    asked = asyncio.create_task(top.ask(WhichChildren()))  # fills the mailbox
    await asyncio.sleep(0)
    gate.open.set()
    assert (await asked)[0].status == "restarting"
    assert await ref.ask(Echo(1)) == 1


async def test_failed_restarts_count_against_the_intensity(system: ActorSystem, events: list[Event]) -> None:
    exits: list[Exit] = []
    starts = Starts(lambda number: number >= 2)
    await supervise(
        system,
        [ChildSpec(id="a", start=lambda: Child(None, starts))],
        intensity=3,
        on_exit=exits.append,
    )
    asked = asyncio.create_task(system.ref("top/a").ask(Raise(ValueError("broken"))))
    queued = [asyncio.create_task(system.ref("top/a").ask(Echo(number))) for number in range(10)]
    outcomes = await asyncio.gather(asked, *queued, return_exceptions=True)
    await settle()
    assert Counter(type(outcome) for outcome in outcomes) == {ValueError: 1, ActorDown: 10}
    assert starts.count == 1 + 3
    assert len(of(RestartFailed, events)) == 3
    (exit,) = exits
    assert exit.error is not None
    assert isinstance(exit.error.__cause__, StartFailed)


async def test_restarts_spread_over_more_than_the_period_do_not_escalate(system: ActorSystem) -> None:
    top = await supervise(system, [child("a")], intensity=1, period=10)
    for _ in range(20):
        system.ref("top/a").kill(ValueError("broken"))
        await settle()
        await asyncio.sleep(10)
    assert (await children_of(top))["a"].restarts == 20


async def test_a_child_that_waits_for_its_groups_restart_can_be_stopped_without_harm_to_the_others(
    system: ActorSystem,
) -> None:
    starts = Starts(lambda number: number == 2)
    top = await supervise(
        system,
        [ChildSpec(id="a", start=lambda: Child(None, starts)), child("b"), child("c")],
        strategy="one_for_all",
        backoff=Backoff(initial=1, factor=1, maximum=1, jitter=0),
    )
    system.ref("top/a").kill(ValueError("broken"))  # to be restarted in a second, which fails
    await asyncio.sleep(0.5)
    system.ref("top/b").kill(ValueError("broken"))
    await asyncio.sleep(0.6)
    assert await statuses(top) == {"a": "restarting", "b": "waiting", "c": "waiting"}
    waiting = asyncio.create_task(system.ref("top/c").ask(Echo(1)))
    await settle()
    await top.ask(TerminateChild("b"))
    assert await waiting == 1
    assert await statuses(top) == {"a": "running", "b": "running", "c": "running"}
