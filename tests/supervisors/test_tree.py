"""The whole tree as data, whatever its actors are doing."""

import asyncio

from repertory.actors import ActorSystem
from repertory.supervisors import Backoff, ChildSpec, StartChild, Supervisor, TerminateChild, tree
from tests.actors.kernel import Echo, Gate, Hold, Probe, settle
from tests.supervisors.tree import ABNORMAL, Child, child, end, statuses, supervise


async def test_an_empty_system_is_an_empty_tree(system: ActorSystem) -> None:
    assert tree(system) == ()


async def test_all_actors_are_in_it_in_start_order(system: ActorSystem) -> None:
    nested = ChildSpec(id="x", start=lambda: Supervisor([child("a"), child("b")], strategy="one_for_all"))
    await supervise(system, [nested, child("c")])
    await system.spawn(Probe, name="alone")
    top, alone = tree(system)
    x, c = top.children
    assert [info.path for info in (top, x, *x.children, c, alone)] == [
        "top",
        "top/x",
        "top/x/a",
        "top/x/b",
        "top/c",
        "alone",
    ]
    assert [info.kind for info in (top, x, c, alone)] == ["Supervisor", "Supervisor", "Child", "Probe"]
    assert {info.state for info in (top, x, *x.children, c, alone)} == {"running"}
    assert [info.incarnation for info in (top, x, c)] == [1, 1, 1]


async def test_restarts_errors_ages_and_mailboxes_are_told(system: ActorSystem) -> None:
    await supervise(system, [child("a"), child("b")])
    await asyncio.sleep(10)
    await end(system.ref("top/a"), ABNORMAL)
    gate = Gate()
    for message in (Hold(gate), Echo(1), Echo(2)):
        system.ref("top/a").tell(message)
    await asyncio.sleep(5)
    a, b = tree(system)[0].children
    assert (a.incarnation, a.restarts, a.last_error) == (2, 1, "ValueError: broken")
    assert (b.incarnation, b.restarts, b.last_error) == (1, 0, None)
    assert [round(info.age or 0) for info in (a, b)] == [5, 15]
    assert (a.mailbox.depth, a.mailbox.high_water, a.handling) == (2, 3, ("Hold",))
    gate.open.set()


async def test_it_is_told_while_a_supervisor_is_busy(system: ActorSystem) -> None:
    """Nobody is asked, so nobody is waited for."""
    gate = Gate()

    class Slow(Child):
        async def started(self) -> None:
            await self.hold(Hold(gate))

    top = await supervise(system, [child("a")])
    starting = asyncio.create_task(top.ask(StartChild(ChildSpec(id="b", start=Slow))))
    await gate.entered.wait()
    asked = asyncio.create_task(top.ask(Echo(1)))  # it is refused, but not yet
    await settle()
    (info,) = tree(system)
    assert (info.state, info.handling) == ("running", ("StartChild",))
    assert {child.path: (child.state, child.age) for child in info.children}["top/b"] == ("starting", None)
    gate.open.set()
    await starting
    await asyncio.gather(asked, return_exceptions=True)


async def test_a_child_between_two_lives_is_restarting(system: ActorSystem) -> None:
    gate = Gate()

    class Slow(Child):
        async def started(self) -> None:
            if self.incarnation == 2:
                await self.hold(Hold(gate))

    await supervise(system, [ChildSpec(id="a", start=Slow)])
    system.ref("top/a").kill(ValueError("broken"))
    states = set()
    while not gate.entered.is_set():
        (info,) = tree(system)[0].children
        states.add((info.state, info.incarnation))
        await asyncio.sleep(0)
    (info,) = tree(system)[0].children
    assert (info.state, info.restarts, info.age) == ("restarting", 1, None)
    assert states <= {("running", 1), ("stopping", 1), ("restarting", 1), ("restarting", 2)}
    gate.open.set()
    await settle()
    assert tree(system)[0].children[0].state == "running"


async def test_a_child_that_waits_for_its_restart_is_restarting(system: ActorSystem) -> None:
    await supervise(system, [child("a")], backoff=Backoff(initial=100, maximum=100))
    await end(system.ref("top/a"), ABNORMAL)
    (info,) = tree(system)[0].children
    assert (info.state, info.last_error, info.kind, info.age) == ("restarting", "ValueError: broken", "", None)


async def test_a_child_that_is_stopped_is_told_with_its_past(system: ActorSystem) -> None:
    top = await supervise(system, [child("a")])
    await end(system.ref("top/a"), ABNORMAL)
    await top.ask(TerminateChild("a"))
    (info,) = tree(system)[0].children
    assert (info.state, info.restarts, info.last_error) == ("stopped", 1, "ValueError: broken")


async def test_a_child_that_takes_its_time_to_stop_is_stopping(system: ActorSystem) -> None:
    await supervise(system, [ChildSpec(id="x", start=lambda: Supervisor([child("a")])), child("b")])
    gate = Gate()
    system.ref("top/x/a").tell(Hold(gate))
    await gate.entered.wait()
    stopping = asyncio.create_task(system.ref("top").stop(timeout=None))
    await settle()
    (top,) = tree(system)
    (x,) = top.children  # b is gone already
    assert [info.state for info in (top, x, *x.children)] == ["stopping"] * 3
    gate.open.set()
    await stopping
    assert tree(system) == ()


async def test_passivated_and_lazy_children_rest_until_a_message_comes(system: ActorSystem) -> None:
    resting = ChildSpec(id="a", start=Child, passivate_after=10)
    top = await supervise(system, [resting, ChildSpec(id="b", start=Child, lazy=True)])
    await asyncio.sleep(60)
    assert await statuses(top) == {"a": "passivated", "b": "passivated"}
    assert [(info.state, info.incarnation) for info in tree(system)[0].children] == [
        ("passivated", 1),
        ("passivated", 0),
    ]
    for id in "ab":
        assert await system.ref(f"top/{id}").ask(Echo(1)) == 1
    assert await statuses(top) == {"a": "running", "b": "running"}
    assert [info.restarts for info in tree(system)[0].children] == [0, 0]
