"""Names, groups, and who watches them."""

import asyncio
from functools import partial
from typing import ClassVar

import pytest

from repertory.actors import Actor, ActorRef, ActorSpec, ActorSystem, Exit, Joined, Left, handles
from repertory.errors import ActorDown, DeadlineExceeded, NameTaken
from repertory.events import Event, MessageDropped
from tests.actors.kernel import Echo, Gate, Hold, Probe, Restarting, of, settle


class Watcher(Actor[None]):
    """Writes down the changes it is told of."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    @handles(Joined)
    async def joined(self, message: Joined) -> None:
        self.log.append(f"+ {message.kind} {message.key} {message.ref.path}")

    @handles(Left)
    async def left(self, message: Left) -> None:
        self.log.append(f"- {message.kind} {message.key} {message.ref.path}")


class Named(Probe):
    """Known by a name and in a group in each of its lives."""

    names: ClassVar[tuple[str, ...]] = ("primary",)

    async def started(self) -> None:
        for name in self.names:
            self.register(name)
        self.join("workers")


class Resting(Actor[None]):
    @handles(Echo)
    async def echo(self, message: Echo) -> int:
        return message.value


async def several(system: ActorSystem, number: int) -> list[ActorRef]:
    return [await system.spawn(Probe, name=f"probe-{index}") for index in range(number)]


# --- names ---------------------------------------------------------------------------------------------------


async def test_an_actor_is_found_by_its_name_until_it_ends(system: ActorSystem) -> None:
    ref = await system.spawn(Named, name="named")
    assert system.registry.whereis("primary") == ref
    await ref.stop()
    assert system.registry.whereis("primary") is None


async def test_a_taken_name_is_refused_and_stays_with_its_holder(system: ActorSystem) -> None:
    first, second = await several(system, 2)
    system.registry.register("primary", first)
    system.registry.register("primary", first)  # again is no conflict
    with pytest.raises(NameTaken, match="'primary' is taken by probe-0"):
        system.registry.register("primary", second)
    assert system.registry.whereis("primary") == first


async def test_an_actor_may_have_several_names(system: ActorSystem) -> None:
    (ref,) = await several(system, 1)
    for name in ("one", "two"):
        system.registry.register(name, ref)
    system.registry.unregister("one")
    system.registry.unregister("one")  # unknown by now, which is no error
    assert [system.registry.whereis(name) for name in ("one", "two")] == [None, ref]


async def test_a_freed_name_may_be_taken_by_another(system: ActorSystem) -> None:
    first, second = await several(system, 2)
    system.registry.register("primary", first)
    first.kill(ValueError("broken"))
    await settle()
    system.registry.register("primary", second)
    assert system.registry.whereis("primary") == second


async def test_who_has_no_life_cannot_be_registered(system: ActorSystem) -> None:
    with pytest.raises(ActorDown, match="nobody has no life"):
        system.registry.register("primary", system.ref("nobody"))
    with pytest.raises(ActorDown):
        system.registry.join("workers", system.ref("nobody"))
    assert system.registry.members("workers") == ()


async def test_a_start_that_fails_frees_the_names_it_took(system: ActorSystem) -> None:
    class Broken(Named):
        async def started(self) -> None:
            await super().started()
            raise ValueError("no fuel")

    cell = system.new_cell("broken", ActorSpec(start=Broken), Restarting())
    with pytest.raises(Exception, match="no fuel"):
        await cell.start()
    assert system.registry.whereis("primary") is None
    assert system.registry.members("workers") == ()
    cell.close()


async def test_the_next_life_registers_anew(system: ActorSystem) -> None:
    cell = system.new_cell("named", ActorSpec(start=Named), Restarting())
    await cell.start()
    cell.kill(ValueError("broken"))
    await settle()
    assert system.registry.whereis("primary") is None
    await cell.start()
    assert system.registry.whereis("primary") == cell.ref
    assert system.registry.members("workers") == (cell.ref,)
    await cell.stop(Exit("shutdown"), 5)


async def test_a_passivated_actor_keeps_its_names_and_groups(system: ActorSystem) -> None:
    ref = await system.spawn(Resting, name="resting", passivate_after=1)
    system.registry.register("primary", ref)
    system.registry.join("workers", ref)
    await asyncio.sleep(10)
    assert not ref.running
    assert system.registry.whereis("primary") == ref
    assert system.registry.broadcast("workers", Echo(1)) == 1
    await settle()
    assert ref.running


async def test_wait_for_returns_as_soon_as_there_is_one(system: ActorSystem) -> None:
    waiting = [asyncio.create_task(system.registry.wait_for("primary")) for _ in range(2)]
    await asyncio.sleep(1)
    waiting[1].cancel()
    ref = await system.spawn(Named, name="named")
    assert await waiting[0] == ref
    assert await system.registry.wait_for("primary", timeout=0) == ref


async def test_wait_for_waits_no_longer_than_it_may(system: ActorSystem) -> None:
    with pytest.raises(DeadlineExceeded, match="no actor was registered as 'primary' within 2 s"):
        await system.registry.wait_for("primary", timeout=2)
    await system.spawn(Named, name="named")
    assert system.registry.whereis("primary") is not None


# --- groups --------------------------------------------------------------------------------------------------


async def test_members_are_those_who_joined_and_live_in_the_order_they_joined(system: ActorSystem) -> None:
    refs = await several(system, 3)
    for ref in reversed(refs):
        system.registry.join("workers", ref)
    system.registry.join("workers", refs[0])  # a member already
    assert system.registry.members("workers") == (refs[2], refs[1], refs[0])
    await refs[1].stop()
    system.registry.leave("workers", refs[2])
    system.registry.leave("workers", refs[2])
    assert system.registry.members("workers") == (refs[0],)


async def test_an_actor_leaves_by_itself(system: ActorSystem) -> None:
    class Leaving(Named):
        async def echo(self, message: Echo) -> int:
            self.leave("workers")
            return await super().echo(message)

    ref = await system.spawn(Leaving, name="leaving")
    assert system.registry.members("workers") == (ref,)
    await ref.ask(Echo(1))
    assert system.registry.members("workers") == ()


async def test_a_broadcast_reaches_all_but_those_whose_mailbox_is_full(
    system: ActorSystem, events: list[Event]
) -> None:
    logs: list[list[object]] = [[], [], []]
    gate = Gate()
    for index, log in enumerate(logs):
        probe = await system.spawn(partial(Probe, log), name=f"probe-{index}", mailbox=1)
        system.registry.join("probes", probe)
    full = system.ref("probe-1")
    full.tell(Hold(gate))
    await gate.entered.wait()
    full.tell(Echo(0))
    assert system.registry.broadcast("probes", Echo(1)) == 2
    gate.open.set()
    await settle()
    assert [log[-1] for log in logs] == [1, 0, 1]
    assert of(MessageDropped, events) == [MessageDropped("probe-1", Echo, "full")]
    assert system.registry.broadcast("nobody is here", Echo(1)) == 0


# --- watching ------------------------------------------------------------------------------------------------


async def test_a_watcher_is_told_of_each_change_after_what_it_was_shown(system: ActorSystem) -> None:
    log: list[str] = []
    first, second = await several(system, 2)
    system.registry.join("workers", first)
    watcher = await system.spawn(lambda: Watcher(log), name="watcher")
    assert system.registry.watch("workers", watcher) == (first,)
    assert system.registry.watch("boss", watcher) == ()
    system.registry.join("workers", second)
    system.registry.join("workers", second)
    system.registry.register("boss", second)
    await first.stop()
    system.registry.unregister("boss")
    await settle()
    assert log == [
        "+ group workers probe-1",
        "+ name boss probe-1",
        "- group workers probe-0",
        "- name boss probe-1",
    ]


async def test_all_names_and_groups_of_an_ended_actor_are_left_in_the_order_they_were_taken(
    system: ActorSystem,
) -> None:
    log: list[str] = []
    names = tuple(f"name-{number}" for number in range(20))

    class Many(Named):
        pass

    Many.names = names
    watcher = await system.spawn(lambda: Watcher(log), name="watcher")
    for name in names:
        system.registry.watch(name, watcher)
    ref = await system.spawn(Many, name="many")
    await ref.stop()
    await settle()
    assert log == [f"+ name {name} many" for name in names] + [f"- name {name} many" for name in names]


async def test_nobody_is_told_after_unwatch_or_in_its_next_life(system: ActorSystem) -> None:
    logs: list[list[str]] = [[], []]
    unwatching = await system.spawn(lambda: Watcher(logs[0]), name="unwatching")
    cell = system.new_cell("restarted", ActorSpec(start=lambda: Watcher(logs[1])), Restarting())
    await cell.start()
    for ref in (unwatching, cell.ref):
        system.registry.watch("workers", ref)
    system.registry.unwatch("workers", unwatching)
    system.registry.unwatch("workers", unwatching)
    cell.kill(ValueError("broken"))
    await settle()
    await cell.start()
    await system.spawn(Named, name="named")
    await settle()
    assert logs == [[], []]
    await cell.stop(Exit("shutdown"), 5)


async def test_a_passivated_watcher_comes_back_and_one_that_cannot_hinders_nobody(system: ActorSystem) -> None:
    logs: list[list[str]] = [[], []]
    makers = [lambda: Watcher(logs[0])]
    for index, make in enumerate((lambda: makers.pop()(), lambda: Watcher(logs[1]))):
        watcher = await system.spawn(make, name=f"watcher-{index}", passivate_after=1)
        system.registry.watch("workers", watcher)
    await asyncio.sleep(10)
    (ref,) = await several(system, 1)
    system.registry.join("workers", ref)
    await settle()
    assert logs == [[], ["+ group workers probe-0"]]
    assert system.find_cell("watcher-0") is None


async def test_who_hears_of_an_end_while_being_made_may_change_the_registry(system: ActorSystem) -> None:
    log: list[str] = []

    def make() -> Watcher:
        for name in ("first", "second"):
            system.registry.unregister(name)
        system.registry.leave("workers", leaving)
        return Watcher(log)

    leaving = await system.spawn(Probe, name="leaving")
    for name in ("first", "second"):
        system.registry.register(name, leaving)
    system.registry.join("workers", leaving)
    watcher = await system.spawn(make, name="watcher", passivate_after=1)
    for name in ("first", "second"):
        system.registry.register(name, leaving)
        system.registry.watch(name, watcher)
    system.registry.join("workers", leaving)
    await asyncio.sleep(10)
    assert not watcher.running
    await leaving.stop()
    await settle()
    assert log == ["- name first leaving", "- name second leaving"]
