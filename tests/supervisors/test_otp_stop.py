"""OTP's cases of stopping children, under their names in OTP's supervisor_SUITE."""

import asyncio

import pytest

from repertory.actors import ActorSystem
from repertory.errors import ActorDown
from repertory.events import Event, StuckChild
from repertory.supervisors import ChildSpec, Supervisor
from tests.actors.kernel import Gate, Hold, of
from tests.supervisors.tree import child, supervise


async def hold(system: ActorSystem, *paths: str) -> list[tuple[Gate, "asyncio.Task[str]"]]:
    """Have each of these actors at work on a message."""
    held = []
    for path in paths:
        gate = Gate()
        held.append((gate, asyncio.create_task(system.ref(path).ask(Hold(gate), timeout=None))))
        await gate.entered.wait()
    return held


async def test_sup_stop_infinity(system: ActorSystem) -> None:
    """Both a worker that is given all the time and, by default, a supervisor take as long as they need."""
    nested = ChildSpec(id="x", start=lambda: Supervisor([child("a", shutdown="infinity")]))
    await supervise(system, [nested, child("b", shutdown="infinity")])
    held = await hold(system, "top/x/a", "top/b")
    stopping = asyncio.create_task(system.stop(None))
    for gate, task in reversed(held):
        await asyncio.sleep(1_000_000)
        assert not task.done()
        gate.open.set()
    await stopping
    assert [await task for _, task in held] == ["held", "held"]


async def test_sup_stop_timeout(system: ActorSystem, events: list[Event]) -> None:
    log: list[object] = []
    await supervise(system, [child("a", log, shutdown=1), child("b", log, shutdown=1)])
    ((gate, held),) = await hold(system, "top/b")
    before = system.clock.monotonic()
    await system.stop(None)
    assert system.clock.monotonic() - before == pytest.approx(1, abs=0.1)
    assert gate.cancelled
    with pytest.raises(ActorDown):
        await held
    assert log[2:] == ["-top/b error", "-top/a shutdown"]
    assert of(StuckChild, events) == []


async def test_sup_stop_brutal_kill(system: ActorSystem) -> None:
    log: list[object] = []
    await supervise(system, [child("a", log), child("b", log, shutdown="brutal")])
    ((gate, held),) = await hold(system, "top/b")
    before = system.clock.monotonic()
    await system.stop(None)
    assert system.clock.monotonic() - before < 0.1
    assert gate.cancelled
    with pytest.raises(ActorDown):
        await held
    assert log[-1] == "-top/a shutdown"
