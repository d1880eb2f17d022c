"""Faults of section C that concern who asks: each ask has exactly one outcome; see `test_faults`."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from repertory.actors import ActorSystem, Exit
from repertory.errors import ActorDown, DeadlineExceeded
from repertory.events import ActorRestarted, Event, MessageDropped
from repertory.supervisors import ChildSpec
from repertory.supervisors.decision import Strategy
from tests.actors.kernel import Echo, Gate, Hold, Raise, of, settle
from tests.supervisors.faults import SlowInLife, group_of, under_all_strategies
from tests.supervisors.tree import ABNORMAL, child, end, restarts, statuses, supervise

ERROR = ValueError("broken")


@under_all_strategies
async def test_c_caller_cancelled_in_the_middle_of_an_ask(
    system: ActorSystem, events: list[Event], strategy: Strategy
) -> None:
    """The handler is cancelled and nothing else; an ask that waits between two lives is never handled."""
    log: list[object] = []
    gate = Gate()
    specs = [child("a", log), ChildSpec(id="b", start=lambda: SlowInLife(log, gate, 2)), child("c", log)]
    top = await supervise(system, specs, strategy=strategy, intensity=1)
    ref = system.ref("top/b")
    at_work = Gate()
    asking = asyncio.create_task(ref.ask(Hold(at_work), timeout=None))
    await at_work.entered.wait()
    behind = asyncio.create_task(ref.ask(Echo(1)))
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await behind == 1
    assert at_work.cancelled
    assert await restarts(top) == dict.fromkeys("abc", 0)

    ref.kill(ERROR)
    await gate.entered.wait()
    waiting = [asyncio.create_task(ref.ask(Echo(number), timeout=None)) for number in (2, 3)]
    await settle()
    waiting[0].cancel()
    await settle()
    assert waiting[0].cancelled()
    gate.open.set()
    assert await waiting[1] == 3
    assert [entry for entry in log if isinstance(entry, int)] == [1, 3]
    assert of(MessageDropped, events) == [MessageDropped("top/b", Echo, "abandoned")]
    assert await restarts(top) == {id: int(id in group_of("b", strategy)) for id in "abc"}


@under_all_strategies
@pytest.mark.parametrize("restarted", [False, True])
async def test_c_ask_whose_deadline_passed_in_the_queue(
    system: ActorSystem, events: list[Event], strategy: Strategy, restarted: bool
) -> None:
    """Its asker hears of it in time, and no life handles it, be it the present one or the next."""
    log: list[object] = []
    top = await supervise(system, [child(id, log) for id in "abc"], strategy=strategy)
    ref = system.ref("top/b")
    gate = Gate()
    held = asyncio.create_task(ref.ask(Hold(gate), timeout=None))
    await gate.entered.wait()
    expiring = asyncio.create_task(ref.ask(Echo(1), timeout=2))
    patient = asyncio.create_task(ref.ask(Echo(2), timeout=None))
    before = system.clock.monotonic()
    with pytest.raises(DeadlineExceeded):
        await expiring
    assert system.clock.monotonic() - before == pytest.approx(2, abs=0.05)
    if restarted:
        ref.kill(ERROR)
        with pytest.raises(ActorDown):
            await held
    else:
        gate.open.set()
        assert await held == "held"
    assert await patient == 2
    assert 1 not in log
    assert of(MessageDropped, events) == [MessageDropped("top/b", Echo, "expired")]
    assert await restarts(top) == {id: int(restarted and id in group_of("b", strategy)) for id in "abc"}


@under_all_strategies
async def test_c_ask_to_a_dead_life(system: ActorSystem, strategy: Strategy) -> None:
    """A child that is gone for good answers nobody, at once and however it is reached; a restarted one does."""
    specs = [child("a", restart="temporary"), child("b", restart="transient"), child("c"), child("d")]
    top = await supervise(system, specs, strategy=strategy)
    refs = {id: system.ref(f"top/{id}") for id in "abcd"}
    for ref in refs.values():
        assert await ref.ask(Echo(1)) == 1  # they know the cell now
    waiting: list[asyncio.Task[int]] = []
    for id, exit in (("a", Exit("normal")), ("b", Exit("normal"))):
        gate = Gate()
        held = asyncio.create_task(refs[id].ask(Hold(gate), timeout=None))
        await gate.entered.wait()
        asyncio.get_running_loop().call_soon(gate.open.set)
        await end(refs[id], exit)
        waiting.append(asyncio.create_task(refs[id].ask(Echo(2), timeout=None)))
        assert await held == "held"
    before = system.clock.monotonic()
    for asking in waiting:
        with pytest.raises(ActorDown):
            await asking
    for ref in (refs["a"], refs["b"], system.ref("top/a"), system.ref("top/nobody")):
        with pytest.raises(ActorDown):
            await ref.ask(Echo(3), timeout=None)
    assert system.clock.monotonic() - before < 0.01
    await end(refs["d"], ABNORMAL)
    assert await refs["d"].ask(Echo(4)) == 4
    back = "running" if strategy == "one_for_all" else "stopped"  # as in OTP: all means all that are known
    assert await statuses(top) == {"b": back, "c": "running", "d": "running"}
    await system.stop()
    with pytest.raises(ActorDown):
        await refs["d"].ask(Echo(5), timeout=None)


@under_all_strategies
@pytest.mark.parametrize("how", ["kill", "crashes among them"])
async def test_c_restart_while_1000_asks_are_queued(
    system: ActorSystem, events: list[Event], strategy: Strategy, how: str
) -> None:
    """Also for its siblings: each ask has exactly one outcome, and only what was being handled is lost."""
    log: list[object] = []
    top = await supervise(system, [child(id, log) for id in "abc"], strategy=strategy, intensity=10)
    refs = {id: system.ref(f"top/{id}") for id in "abc"}
    gates = {id: Gate() for id in "abc"}
    held = {id: asyncio.create_task(refs[id].ask(Hold(gate), timeout=None)) for id, gate in gates.items()}
    await settle()
    outcomes: dict[str, list[object]] = {id: [] for id in "abc"}

    def crashes(id: str, number: int) -> bool:
        return how != "kill" and id == "b" and number % 100 == 50

    async def ask(id: str, number: int) -> None:
        try:
            message = Raise(ERROR) if crashes(id, number) else Echo(number)
            outcomes[id].append(await refs[id].ask(message, timeout=None))
        except ValueError:
            outcomes[id].append(("crashed", number))

    asks = [asyncio.create_task(ask(id, number)) for id in "abc" for number in range(1000)]
    await settle()
    if how == "kill":
        refs["b"].kill(ERROR)
    for gate in gates.values():
        gate.open.set()
    await asyncio.gather(*asks)
    for id in "abc":
        assert outcomes[id] == [("crashed", n) if crashes(id, n) else n for n in range(1000)]
        assert await asyncio.wait_for(held[id], 1) == "held" if how != "kill" or id != "b" else True
    if how == "kill":
        with pytest.raises(ActorDown):
            await held["b"]
    times = 1 if how == "kill" else 10
    assert len(of(ActorRestarted, events)) == times
    assert await restarts(top) == {id: times * (id in group_of("b", strategy)) for id in "abc"}
    assert len([entry for entry in log if isinstance(entry, int)]) == 3000 - (0 if how == "kill" else 10)


@under_all_strategies
async def test_c_system_stopped_by_sigterm_with_10000_asks_in_flight(strategy: Strategy, tmp_path: Path) -> None:
    """Every ask has one outcome, no task is left, and nothing is complained of. Time is real (``tmp_path``)."""
    command = (sys.executable, "-X", "dev", "-W", "error", "-m", "tests.supervisors.terminated", strategy)
    root = Path(__file__).parents[2]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, cwd=root)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        output, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert complaints == b""
    assert process.returncode == 0
    summary = json.loads(output)
    kinds = summary.pop("kinds")
    crashes = summary.pop("crashes")
    assert summary == {
        "in_flight": 10_000,
        "unanswered": 0,
        "outcomes": {"1": 10_000},
        "handled_twice": 0,
        "replied_unhandled": 0,
        "tasks_left": [],
        "complaints": [],
    }
    assert kinds.keys() == {"int", "ActorDown", "ValueError"}
    assert kinds["int"] >= 8  # what was being handled may be finished
    assert kinds["ActorDown"] >= 999  # those behind the one that hangs
    assert kinds["ValueError"] == 1
    assert crashes == 2  # the one that crashes, and the one that hangs and is killed
