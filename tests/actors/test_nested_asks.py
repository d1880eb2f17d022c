"""Asks of handlers: they share the deadline of what is being handled, and cannot wait for themselves."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import pytest

from repertory.actors import ActorRef, ActorSystem
from repertory.errors import ActorDown, AskCycle, DeadlineExceeded
from tests.actors.kernel import Echo, Gate, Hold, settle
from tests.actors.light import Light, Run


async def spawn(system: ActorSystem, *names: str, concurrency: int = 1) -> list[ActorRef]:
    return [await system.spawn(Light, name=name, concurrency=concurrency) for name in names]


def through(*refs: ActorRef, last: Any, timeout: float | None = 60.0) -> Run:
    """A message to the one before ``refs`` that asks each of them in turn, the last one with ``last``."""

    async def ask(_: Light) -> Any:
        message = through(*refs[1:], last=last, timeout=timeout) if len(refs) > 1 else last
        return await refs[0].ask(message, timeout=timeout)

    return Run(ask)


# --- deadlines -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [60.0, None])
async def test_the_first_asks_deadline_holds_through_three_levels(
    system: ActorSystem, timeout: float | None
) -> None:
    a, b, c = await spawn(system, "a", "b", "c")
    gate = Gate()
    before = system.clock.monotonic()
    with pytest.raises(DeadlineExceeded):
        await a.ask(through(b, c, last=Hold(gate), timeout=timeout), timeout=3)
    assert system.clock.monotonic() - before == pytest.approx(3, abs=0.1)
    await settle()
    assert gate.cancelled
    assert [ref.load for ref in (a, b, c)] == [0, 0, 0]


async def test_a_nearer_deadline_of_a_level_holds_for_those_below(system: ActorSystem) -> None:
    a, b, c = await spawn(system, "a", "b", "c")
    gate = Gate()

    async def ask_b(_: Light) -> str:
        try:
            await b.ask(through(c, last=Hold(gate)), timeout=2)
        except DeadlineExceeded:
            return "in time"
        return "late"

    assert await a.ask(Run(ask_b), timeout=10) == "in time"
    await settle()
    assert gate.cancelled


@pytest.mark.parametrize("group", ["gather", "TaskGroup"])
async def test_deadlines_reach_the_tasks_that_a_handler_waits_for(system: ActorSystem, group: str) -> None:
    a, *others = await spawn(system, *"abcdef")
    gates = [Gate() for _ in others]

    async def ask_all(_: Light) -> None:
        asks = [ref.ask(Hold(gate), timeout=None) for ref, gate in zip(others, gates, strict=True)]
        if group == "gather":
            await asyncio.gather(*asks)
        else:
            async with asyncio.TaskGroup() as tasks:
                for ask in asks:
                    tasks.create_task(ask)

    with pytest.raises(DeadlineExceeded):
        await a.ask(Run(ask_all), timeout=2)
    await settle()
    assert all(gate.cancelled for gate in gates)
    assert a.running  # its handler was cancelled; it did not fail by what became of its own asks


async def test_an_ask_after_the_deadline_is_refused_before_it_is_sent(system: ActorSystem) -> None:
    a, b = await spawn(system, "a", "b")
    refused: list[str] = []

    async def late(_: Light) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            try:
                await b.ask(Echo(1))
            except DeadlineExceeded as error:
                refused.append(str(error))

    with pytest.raises(DeadlineExceeded):
        await a.ask(Run(late), timeout=1)
    await settle()
    assert refused == ["b: the deadline had passed before Echo was asked"]


async def test_background_work_does_not_share_the_deadline(system: ActorSystem) -> None:
    a, b = await spawn(system, "a", "b")
    gate = Gate()
    replies: list[str] = []

    async def later(actor: Light) -> None:
        async def ask() -> None:
            replies.append(await b.ask(Hold(gate), timeout=None))

        actor.background(ask())

    await a.ask(Run(later), timeout=1)
    await asyncio.sleep(10)
    gate.open.set()
    await settle()
    assert replies == ["held"]


# --- cycles --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("path", ["a", "a b", "a b c"])
async def test_a_cycle_of_asks_fails_at_once_and_names_itself(system: ActorSystem, path: str, told: bool) -> None:
    refs = await spawn(system, *path.split())
    caught: list[str] = []
    message = through(*refs[1:], refs[0], last=Echo(1), timeout=None)

    async def ask(actor: Light) -> None:
        try:
            await message.what(actor)
        except AskCycle as error:
            caught.append(str(error))
        except Exception as error:  # noqa: BLE001  # another one in the circle has crashed by it
            caught.append(str(error.__cause__))

    if told:
        refs[0].tell(Run(ask))
        await settle()
    else:
        await refs[0].ask(Run(ask), timeout=None)
    assert len(caught) == 1
    assert " -> ".join([*path.split(), "a"]) in caught[0]


async def test_a_cycle_through_gathered_asks_is_found(system: ActorSystem) -> None:
    a, b = await spawn(system, "a", "b")

    async def both(_: Light) -> list[object]:
        return list(await asyncio.gather(b.ask(Echo(1)), a.ask(Echo(2)), return_exceptions=True))

    outcomes = await a.ask(Run(both))
    assert outcomes[0] == 1
    assert isinstance(outcomes[1], AskCycle)


async def test_background_work_may_ask_its_own_actor(system: ActorSystem) -> None:
    (a,) = await spawn(system, "a")
    replies: list[int] = []

    async def later(actor: Light) -> None:
        async def ask() -> None:
            replies.append(await actor.ref.ask(Echo(1)))

        actor.background(ask())
        await asyncio.sleep(1)

    await a.ask(Run(later))
    await settle()
    assert replies == [1]


async def test_an_actor_that_handles_two_at_a_time_may_ask_itself(system: ActorSystem) -> None:
    (a,) = await spawn(system, "a", concurrency=2)
    assert await a.ask(through(a, last=Echo(1))) == 1


@pytest.mark.parametrize("told", [False, True])
async def test_a_task_left_behind_by_an_earlier_message_may_ask(system: ActorSystem, told: bool) -> None:
    (a,) = await spawn(system, "a")
    left: list[asyncio.Task[int]] = []

    async def leave(actor: Light) -> None:
        async def ask() -> int:
            await asyncio.sleep(1)
            return await actor.ref.ask(Echo(1))

        left.append(asyncio.create_task(ask()))

    if told:
        a.tell(Run(leave))
        await settle()
    else:
        await a.ask(Run(leave), timeout=0.5)
    gate = Gate()
    held = asyncio.create_task(a.ask(Hold(gate)))
    await asyncio.sleep(2)
    gate.open.set()
    assert await held == "held"
    assert await left[0] == 1


async def test_two_that_ask_each_other_in_turn_are_no_cycle(system: ActorSystem) -> None:
    a, b = await spawn(system, "a", "b")
    for _ in range(3):
        assert await a.ask(through(b, last=Echo(1))) == 1
        assert await b.ask(through(a, last=Echo(2))) == 2


def waits_then_asks(gate: Gate, ref: ActorRef, message: Any) -> Run:
    async def ask(_: Light) -> Any:
        gate.entered.set()
        await gate.open.wait()
        return await ref.ask(message, timeout=None)

    return Run(ask)


@pytest.mark.parametrize("length", [2, 3])
async def test_a_circle_closed_by_messages_of_different_senders_is_refused_too(
    system: ActorSystem, length: int
) -> None:
    refs = await spawn(system, *"abc"[:length])
    gates = [Gate() for _ in refs]
    asks = []
    for number, (ref, gate) in enumerate(zip(refs, gates, strict=True)):
        following = refs[(number + 1) % length]
        asks.append(asyncio.create_task(ref.ask(waits_then_asks(gate, following, Echo(number)), timeout=None)))
        await gate.entered.wait()
    for gate in gates:
        gate.open.set()
        await settle()
    outcomes = await asyncio.gather(*asks, return_exceptions=True)
    # The last one to ask hears it, and crashes by it: what the others had asked is then down.
    assert isinstance(outcomes[-1], AskCycle)
    circle = " -> ".join([*"abc"[:length], "a"])
    assert str(outcomes[-1]).startswith(f"Echo would wait for itself: {circle}")
    assert [type(outcome) for outcome in outcomes[:-1]] == [ActorDown] * (length - 1)


async def test_a_circle_of_thousands_is_found(system: ActorSystem) -> None:
    """The first has thousands to follow: each waits for the next one, and the last one asks the first."""
    refs = await spawn(system, *map(str, range(3000)))
    gate = Gate()

    async def close(_: Light) -> None:
        gate.entered.set()
        await gate.open.wait()
        await refs[0].ask(Echo(1), timeout=None)

    asks: list[asyncio.Task[Any]] = [asyncio.create_task(refs[-1].ask(Run(close), timeout=None))]
    for ref, following in reversed(list(itertools.pairwise(refs))):
        asks.append(asyncio.create_task(ref.ask(through(following, last=Echo(1), timeout=None), timeout=None)))
    await settle()
    gate.open.set()
    outcomes = await asyncio.gather(*asks, return_exceptions=True)
    assert isinstance(outcomes[0], AskCycle)
    assert str(outcomes[0]).count(" -> ") == 3000
    assert {type(outcome) for outcome in outcomes[1:]} == {ActorDown}


async def test_a_circle_with_a_handler_to_spare_is_none(system: ActorSystem) -> None:
    (a,) = await spawn(system, "a", concurrency=2)
    (b,) = await spawn(system, "b")
    gates = [Gate(), Gate()]
    asks = []
    for ref, other, gate in ((a, b, gates[0]), (b, a, gates[1])):
        asks.append(asyncio.create_task(ref.ask(waits_then_asks(gate, other, Echo(1)), timeout=None)))
        await gate.entered.wait()
    for gate in gates:
        gate.open.set()
        await settle()
    assert await asyncio.gather(*asks) == [1, 1]


@pytest.mark.parametrize("told", [True, False])
async def test_an_ask_that_is_over_closes_no_circle(system: ActorSystem, told: bool) -> None:
    a, b = await spawn(system, "a", "b")
    gates = [Gate(), Gate()]

    async def ask_and_stay(light: Light) -> Any:
        with suppress(DeadlineExceeded):
            await b.ask(Hold(gates[0]), timeout=1)
        return await light.hold(Hold(gates[1]))

    if told:
        a.tell(Run(ask_and_stay))
    held = asyncio.create_task(a.ask(Hold(gates[1]) if told else Run(ask_and_stay), timeout=None))
    await gates[1].entered.wait()
    asking = asyncio.create_task(b.ask(through(a, last=Echo(2), timeout=None), timeout=None))
    await settle()
    gates[1].open.set()
    assert await asking == 2
    assert await held == "held"


HOOKS = pytest.mark.parametrize("hook", ["started", "after_start", "stopping"])


def asking_in(hook: str, ask: Callable[[Light], Coroutine[Any, Any, Any]], outcomes: list[object]) -> type[Light]:
    """An actor that asks in a hook of its life, and notes what came of it."""

    async def run(self: Light, *_: object) -> None:
        try:
            outcomes.append(await ask(self))
        except AskCycle as error:
            outcomes.append(str(error).partition("\n")[0])

    return type("Asking", (Light,), {hook: run})


@HOOKS
@pytest.mark.parametrize("concurrency", [1, 2])
async def test_an_actor_that_asks_itself_where_it_takes_no_messages_hears_so_at_once(
    system: ActorSystem, hook: str, concurrency: int
) -> None:
    outcomes: list[object] = []
    kind = asking_in(hook, lambda self: self.ref.ask(Echo(1), timeout=None), outcomes)
    ref = await system.spawn(kind, name="a", concurrency=concurrency)
    await settle()
    await ref.stop(timeout=None)
    assert outcomes == ["Echo would wait for itself: a -> a"]


@HOOKS
async def test_nor_can_another_be_asked_who_then_asks_it(system: ActorSystem, hook: str) -> None:
    (b,) = await spawn(system, "b")
    outcomes: list[object] = []
    kind = asking_in(hook, lambda self: b.ask(through(self.ref, last=Echo(1), timeout=None)), outcomes)
    ref = await system.spawn(kind, name="a")
    await settle()
    await system.ref("a").stop(timeout=None)
    assert ref.load == 0
    assert outcomes == ["Echo would wait for itself: a -> b -> a"]


@HOOKS
async def test_but_others_can_be_asked_there(system: ActorSystem, hook: str) -> None:
    (b,) = await spawn(system, "b")
    outcomes: list[object] = []
    ref = await system.spawn(asking_in(hook, lambda _: b.ask(Echo(1)), outcomes), name="a")
    await settle()
    await ref.stop(timeout=None)
    assert outcomes == [1]


@pytest.mark.parametrize("told", [True, False])
async def test_an_actor_cannot_wait_for_its_own_end(system: ActorSystem, told: bool) -> None:
    a, b = await spawn(system, "a", "b")
    outcomes: list[str] = []

    async def stop(_: Light) -> None:
        try:
            await a.stop(timeout=None)
        except AskCycle as error:
            outcomes.append(str(error).partition("\n")[0])

    for message in (Run(stop), through(b, last=Run(stop), timeout=None)):
        if told:
            a.tell(message)
            await settle()
        else:
            await a.ask(message, timeout=None)
    assert outcomes == ["it would wait for its own end: a -> a", "it would wait for its own end: a -> b -> a"]


async def test_a_task_that_a_handler_leaves_behind_may_end_the_actor(system: ActorSystem) -> None:
    (a,) = await spawn(system, "a")
    left: list[asyncio.Task[None]] = []

    async def leave(_: Light) -> None:
        left.append(asyncio.create_task(a.stop()))

    await a.ask(Run(leave))
    await left[0]
    assert system.find_cell("a") is None


# --- context -------------------------------------------------------------------------------------------------

caller: ContextVar[str] = ContextVar("caller", default="nobody")


async def test_a_senders_context_variables_do_not_reach_the_actor(system: ActorSystem) -> None:
    seen: list[str] = []

    class Looking(Light):
        def __init__(self) -> None:
            super().__init__()
            seen.append(caller.get())

        async def started(self) -> None:
            seen.append(caller.get())

        async def echo(self, message: Echo) -> int:
            seen.append(caller.get())
            return message.value

    ref = await system.spawn(Looking, name="looking", lazy=True, passivate_after=2)
    caller.set("the test")
    await ref.ask(Echo(1))
    ref.tell(Echo(2))
    await asyncio.sleep(10)
    await ref.ask(Echo(3))
    assert seen == ["nobody"] * 7


async def test_what_a_handler_sets_stays_in_its_task(system: ActorSystem) -> None:
    (a,) = await spawn(system, "a")

    async def set_it(_: Light) -> None:
        caller.set("the handler")

    await a.ask(Run(set_it))
    assert caller.get() == "nobody"
