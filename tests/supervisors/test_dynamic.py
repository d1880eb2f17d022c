"""Children that come and go, beyond OTP's cases."""

import asyncio

import pytest

from repertory.actors import NORMAL, ActorSystem
from repertory.errors import ActorDown, ChildLimitReached, ConfigError, NameTaken
from repertory.events import Event, StuckChild
from repertory.supervisors import ChildSpec, StartChild, StopChild, Supervisor, WhichChildren
from tests.actors.kernel import Echo, Gate, Hold, Withstand, of, settle
from tests.supervisors.tree import ABNORMAL, Child, child, counts, end, statuses, supervise_dynamically


async def test_without_a_template_each_child_brings_its_own_specification(system: ActorSystem) -> None:
    top = await supervise_dynamically(system)
    await top.ask(StartChild(child("a", restart="transient")))
    await top.ask(StartChild(child("b", restart="temporary")))
    with pytest.raises(ConfigError, match="there is no template"):
        await top.ask(StartChild(id="c"))
    with pytest.raises(ConfigError, match="args are for a template"):
        await top.ask(StartChild(child("c"), args=(1,)))
    await end(system.ref("top/a"), ABNORMAL)
    await end(system.ref("top/b"), ABNORMAL)
    assert await statuses(top) == {"a": "running"}
    await end(system.ref("top/a"), NORMAL)
    assert await statuses(top) == {}  # it keeps nobody who has ended for good
    assert system.find_cell("top/a") is None


async def test_a_static_supervisor_takes_no_template_arguments(system: ActorSystem) -> None:
    top = await system.spawn(Supervisor, name="top")
    for message in (StartChild(id="a"), StartChild(child("a"), args=(1,))):
        with pytest.raises(ConfigError, match="only a DynamicSupervisor"):
            await top.ask(message)
    assert await counts(top) == (0, 0, 0, 0)


async def test_children_without_an_id_are_numbered(system: ActorSystem) -> None:
    top = await supervise_dynamically(system, child("template"))
    await top.ask(StartChild(id="2"))
    assert [(await top.ask(StartChild())).path for _ in range(3)] == ["top/1", "top/3", "top/4"]
    await top.ask(StopChild("1"))
    assert (await top.ask(StartChild())).path == "top/5"  # a number is not given twice


async def test_more_children_than_it_may_have_are_refused(system: ActorSystem) -> None:
    top = await supervise_dynamically(system, child("template"), max_children=2)
    for id in "ab":
        await top.ask(StartChild(id=id))
    with pytest.raises(ChildLimitReached, match="top has 2 children already"):
        await top.ask(StartChild(id="c"))
    await top.ask(StopChild("a"))
    await top.ask(StartChild(id="c"))
    assert list(await statuses(top)) == ["b", "c"]


async def test_a_path_that_is_taken_by_a_stranger_is_refused(system: ActorSystem) -> None:
    top = await supervise_dynamically(system, child("template"))
    await system.spawn(Child, name="top/a")
    with pytest.raises(NameTaken, match="'top/a' exists already"):
        await top.ask(StartChild(id="a"))
    assert await counts(top) == (0, 0, 0, 0)


async def test_children_of_several_kinds_stop_at_the_same_time_each_within_its_own(
    system: ActorSystem, events: list[Event]
) -> None:
    log: list[object] = []
    top = await supervise_dynamically(system)
    for id, seconds in (("a", 3), ("b", 7), ("c", 1)):
        await top.ask(StartChild(child(id, log, shutdown=seconds)))
    gates = {id: Gate() for id in "abc"}
    for id in "ab":
        system.ref(f"top/{id}").tell(Hold(gates[id]))
    system.ref("top/c").tell(Withstand(gates["c"]))
    await settle()
    before = system.clock.monotonic()
    await system.stop(None)
    assert system.clock.monotonic() - before == pytest.approx(7, abs=0.1)
    assert of(StuckChild, events) == [StuckChild("top/c", 1)]
    gates["c"].open.set()


async def test_a_stop_cut_short_leaves_no_child(system: ActorSystem) -> None:
    top = await supervise_dynamically(system, child("template", shutdown=100))
    refs = [await top.ask(StartChild(id=id)) for id in "abc"]
    gates = [Gate() for _ in refs]
    asked = [asyncio.create_task(ref.ask(Hold(gate))) for ref, gate in zip(refs, gates, strict=True)]
    await settle()
    await top.stop(timeout=2)
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ActorDown] * 3
    assert all(gate.cancelled for gate in gates)
    assert [system.find_cell(ref.path) for ref in refs] == [None] * 3


async def test_a_supervisor_may_be_a_dynamic_child(system: ActorSystem) -> None:
    log: list[object] = []
    template = ChildSpec(id="template", start=lambda: Supervisor([child("a", log, shutdown="infinity")]))
    top = await supervise_dynamically(system, template)
    await top.ask(StartChild(id="x"))
    assert await counts(top) == (1, 1, 1, 0)
    assert [info.path for info in await system.ref("top/x").ask(WhichChildren())] == ["top/x/a"]
    gate = Gate()
    held = asyncio.create_task(system.ref("top/x/a").ask(Hold(gate), timeout=None))
    await gate.entered.wait()
    stopping = asyncio.create_task(system.stop(None))
    await asyncio.sleep(1000)  # a supervisor is given all the time its children have
    gate.open.set()
    await stopping
    assert await held == "held"


async def test_many_at_rest_and_many_at_work_all_end(system: ActorSystem) -> None:
    top = await supervise_dynamically(system, child("template"))
    refs = [await top.ask(StartChild()) for _ in range(200)]
    asked = [asyncio.create_task(ref.ask(Echo(1))) for ref in refs[:100]]
    await system.stop()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert {outcome if outcome == 1 else type(outcome) for outcome in outcomes} <= {1, ActorDown}
    assert [system.find_cell(ref.path) for ref in refs] == [None] * 200
