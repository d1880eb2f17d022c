"""Links, and trapping exits: who ends with whom. Semantics: Erlang/OTP."""

from itertools import pairwise

import pytest

from repertory.actors import NORMAL, SHUTDOWN, ActorSpec, ActorSystem, Exit
from repertory.errors import ActorDown, LinkedActorDown, StartFailed
from tests.actors.kernel import Finish, Probe, Restarting, settle
from tests.actors.observer import Do, Observer, Trapping, link, settle_to_rest


@pytest.mark.parametrize("crashing", ["linker", "linked"])
async def test_a_crash_ends_the_linked_actor_whichever_of_the_two_made_the_link(
    system: ActorSystem, crashing: str
) -> None:
    exits: dict[str, Exit] = {}
    linker = await system.spawn(Observer, name="linker", on_exit=lambda exit: exits.update(linker=exit))
    linked = await system.spawn(Observer, name="linked", on_exit=lambda exit: exits.update(linked=exit))
    await link(linker, linked)
    cause = ValueError("broken")
    system.ref(crashing).kill(cause)
    await settle()
    assert exits[crashing] == Exit("error", cause)
    (other,) = exits.keys() - {crashing}
    error = exits[other].error
    assert isinstance(error, LinkedActorDown)
    assert error.__cause__ is cause
    assert str(error) == f"{other} is linked to {crashing}, which crashed: broken"


async def test_a_normal_end_does_not_end_the_linked_actor(system: ActorSystem) -> None:
    survivor = await system.spawn(Observer, name="survivor")
    probe = await system.spawn(Probe, name="probe")
    await link(survivor, probe)
    await probe.ask(Finish(NORMAL))
    await settle()
    assert survivor.running
    assert not probe.running


async def test_a_shutdown_propagates_as_a_shutdown(system: ActorSystem) -> None:
    exits: list[Exit] = []
    linked = await system.spawn(Observer, name="linked", on_exit=exits.append)
    probe = await system.spawn(Probe, name="probe")
    await link(linked, probe)
    await probe.stop()
    await settle()
    assert exits == [SHUTDOWN]


async def test_an_actor_that_traps_exits_is_told_of_every_kind_of_end(system: ActorSystem) -> None:
    log: list[tuple[str, Exit]] = []
    trapping = await system.spawn(lambda: Trapping(log), name="trapping")
    exits = [NORMAL, SHUTDOWN, Exit("error", ValueError("broken"))]
    for exit in exits:
        probe = await system.spawn(Probe, name="probe")
        await link(trapping, probe)
        await probe.ask(Finish(exit))
        await settle()
    assert log == [("probe exited", exit) for exit in exits]
    assert trapping.running


async def test_trapping_exits_does_not_keep_the_other_side_alive(system: ActorSystem) -> None:
    exits: list[Exit] = []
    trapping = await system.spawn(Trapping, name="trapping")
    linked = await system.spawn(Observer, name="linked", on_exit=exits.append)
    await link(trapping, linked)
    trapping.kill(ValueError("broken"))
    await settle()
    assert isinstance(exits[0].error, LinkedActorDown)


async def test_a_link_to_the_dead_ends_the_linker_at_once(system: ActorSystem) -> None:
    exits: list[Exit] = []
    linker = await system.spawn(Observer, name="linker", on_exit=exits.append)
    await link(linker, system.ref("nobody"))
    await settle()
    assert isinstance(exits[0].error, LinkedActorDown)
    assert isinstance(exits[0].error.__cause__, ActorDown)


async def test_a_link_to_the_dead_tells_an_actor_that_traps_exits(system: ActorSystem) -> None:
    log: list[tuple[str, Exit]] = []
    trapping = await system.spawn(lambda: Trapping(log), name="trapping")
    await link(trapping, system.ref("nobody"))
    await settle()
    ((told, exit),) = log
    assert told == "nobody exited"
    assert isinstance(exit.error, ActorDown)


async def test_linking_twice_tells_once_and_to_oneself_changes_nothing(system: ActorSystem) -> None:
    log: list[tuple[str, Exit]] = []
    trapping = await system.spawn(lambda: Trapping(log), name="trapping")
    probe = await system.spawn(Probe, name="probe")
    await link(trapping, trapping)
    await link(trapping, probe)
    await link(trapping, probe)
    await probe.ask(Finish(NORMAL))
    await settle()
    assert log == [("probe exited", NORMAL)]


@pytest.mark.parametrize("unlinking", ["linker", "linked"])
async def test_after_unlink_neither_hears_of_the_others_end(system: ActorSystem, unlinking: str) -> None:
    linker = await system.spawn(Observer, name="linker")
    linked = await system.spawn(Observer, name="linked")
    await link(linker, linked)
    other = linked if unlinking == "linker" else linker
    await system.ref(unlinking).ask(Do(lambda actor: actor.unlink(other)))
    other.kill(ValueError("broken"))
    await settle()
    assert system.ref(unlinking).running


async def test_a_crash_passes_through_a_long_chain_of_links(system: ActorSystem) -> None:
    chain = [await system.spawn(Observer, name=f"link-{number}") for number in range(500)]
    for one, other in pairwise(chain):
        await link(one, other)
    # All of them at rest: without a task each, their ends are not spread over turns of the loop by themselves.
    await settle_to_rest()
    chain[0].kill(ValueError("broken"))
    await settle()
    assert [ref for ref in chain if ref.running] == []


async def test_a_start_that_fails_after_linking_ends_the_linked_actor(system: ActorSystem) -> None:
    exits: list[Exit] = []
    partner = await system.spawn(Observer, name="partner", on_exit=exits.append)

    class Broken(Observer):
        async def started(self) -> None:
            self.link(partner)
            raise ValueError("no fuel")

    with pytest.raises(StartFailed):
        await system.spawn(Broken, name="broken")
    await settle()
    assert isinstance(exits[0].error, LinkedActorDown)
    assert isinstance(exits[0].error.__cause__, StartFailed)


async def test_a_start_that_links_to_the_dead_fails(system: ActorSystem) -> None:
    class Dependent(Observer):
        async def started(self) -> None:
            self.link(self.system.ref("nobody"))

    with pytest.raises(StartFailed) as caught:
        await system.spawn(Dependent, name="dependent")
    assert isinstance(caught.value.__cause__, LinkedActorDown)


async def test_a_life_has_no_part_in_the_links_of_the_one_before(system: ActorSystem) -> None:
    keeper = Restarting()
    cell = system.new_cell("restarted", ActorSpec(start=Observer), keeper)
    await cell.start()
    log: list[tuple[str, Exit]] = []
    trapping = await system.spawn(lambda: Trapping(log), name="trapping")
    await link(trapping, cell.ref)
    cell.kill(ValueError("broken"))
    await settle()
    await cell.start()
    trapping.kill(ValueError("broken too"))
    await settle()
    assert [told for told, _ in log] == ["restarted exited"]
    assert cell.running
    await cell.stop(SHUTDOWN, 5)


async def test_a_linked_actor_is_not_passivated(system: ActorSystem) -> None:
    made: list[Observer] = []

    def make() -> Observer:
        made.append(Observer())
        return made[-1]

    resting = await system.spawn(make, name="resting", passivate_after=3)
    linker = await system.spawn(Observer, name="linker")
    await link(linker, resting)
    await settle_to_rest()
    await settle_to_rest()
    assert resting.running
    assert len(made) == 1


async def test_a_link_to_a_passivated_actor_makes_it_anew_and_shares_its_fate(system: ActorSystem) -> None:
    exits: list[Exit] = []
    resting = await system.spawn(Observer, name="resting", passivate_after=1, on_exit=exits.append)
    linker = await system.spawn(Observer, name="linker")
    await settle_to_rest()
    assert not resting.running
    await link(linker, resting)
    await settle()
    linker.kill(ValueError("broken"))
    await settle()
    assert isinstance(exits[0].error, LinkedActorDown)
