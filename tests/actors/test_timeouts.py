"""The timeouts of asks: how long is meant, how exactly it is kept, and what is no time at all."""

import asyncio
import math
from typing import Any

import pytest

from repertory.actors import ActorSystem
from repertory.errors import DeadlineExceeded
from repertory.events import Event, Hooks, MessageDropped
from tests.actors.kernel import Echo, Gate, Hold, Probe, settle
from tests.actors.light import Light, Run
from tests.virtual_time import LoopClock


@pytest.mark.parametrize("timeout", [0.05, 5, 3600, 1e6])
async def test_an_ask_ends_at_its_deadline_or_a_little_later(system: ActorSystem, timeout: float) -> None:
    ref = await system.spawn(Probe, name="probe")
    begun = system.clock.monotonic()
    with pytest.raises(DeadlineExceeded):
        await ref.ask(Hold(Gate()), timeout=timeout)
    late = system.clock.monotonic() - begun - timeout
    assert 0 <= late <= max(0.02, 0.002 * timeout) + 0.001


@pytest.mark.parametrize("timeout", [math.inf, 1e308, 1e9])
async def test_a_timeout_without_end_is_none(system: ActorSystem, timeout: float) -> None:
    ref = await system.spawn(Probe, name="probe")
    gate = Gate()
    asked = asyncio.create_task(ref.ask(Hold(gate), timeout=timeout))
    await gate.entered.wait()
    assert system._deadlines.next_due() is None
    gate.open.set()
    assert await asked == "held"


async def test_what_is_asked_within_an_ask_without_end_has_its_own_timeout(system: ActorSystem) -> None:
    other = await system.spawn(Probe, name="other")

    async def ask_on(actor: Light) -> None:
        await other.ask(Hold(Gate()), timeout=1)

    asker = await system.spawn(Light, name="asker")
    with pytest.raises(DeadlineExceeded, match="other"):
        await asker.ask(Run(ask_on), timeout=math.inf)


@pytest.mark.parametrize("timeout", [-1.0, -1e308, -math.inf])
async def test_a_timeout_that_is_over_before_it_begins_is_exceeded(system: ActorSystem, timeout: float) -> None:
    ref = await system.spawn(Probe, name="probe")
    with pytest.raises(DeadlineExceeded):
        await ref.ask(Hold(Gate()), timeout=timeout)
    assert await ref.ask(Echo(1)) == 1


async def test_a_timeout_that_is_no_number_is_refused_and_nothing_is_sent(system: ActorSystem) -> None:
    log: list[object] = []
    ref = await system.spawn(lambda: Probe(log), name="probe")
    with pytest.raises(ValueError, match="timeout = nan; it must be seconds"):
        await ref.ask(Echo(1), timeout=math.nan)
    await settle()
    assert log == ["started"]


class _Abort(BaseException):
    pass


async def test_an_error_at_the_end_of_one_ask_does_not_cost_the_others_theirs(nothing_left_behind: None) -> None:
    reported: list[Any] = []

    def abort(event: Event) -> None:
        if isinstance(event, MessageDropped) and event.reason == "expired":
            raise _Abort

    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    system = ActorSystem(clock=LoopClock(), hooks=Hooks([abort]))
    ref = await system.spawn(Probe, name="probe", mailbox=1, overflow="wait")
    gate = Gate()
    ref.tell(Hold(gate))
    await gate.entered.wait()
    ref.tell(Echo(0))
    asked = [asyncio.create_task(ref.ask(Echo(value), timeout=1)) for value in range(1, 4)]
    await asyncio.sleep(2)
    outcomes = [task.exception() for task in asked if task.done()]
    assert [type(outcome) for outcome in outcomes] == [DeadlineExceeded] * 3
    assert [type(error) for error in reported] == [_Abort] * 3
    gate.open.set()
    await settle()
    await system.stop()
