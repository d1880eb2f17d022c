"""OTP's cases of adding, taking away and asking after children, under their names in OTP's supervisor_SUITE."""

import pytest

from repertory.actors import Actor, ActorSystem
from repertory.errors import ChildNotFound, ChildRunning, ConfigError, NameTaken
from repertory.supervisors import (
    ChildSpec,
    DeleteChild,
    DynamicSupervisor,
    PartitionSupervisor,
    Pool,
    RestartChild,
    StartChild,
    Supervisor,
    TerminateChild,
    tree,
)
from tests.actors.kernel import Echo
from tests.supervisors.tree import Child, child, counts, statuses, supervise, supervise_dynamically


async def test_child_adm(system: ActorSystem) -> None:
    log: list[object] = []
    top = await supervise(system, [child("a", log)])
    assert (await statuses(top), await counts(top)) == ({"a": "running"}, (1, 1, 0, 1))
    with pytest.raises(NameTaken, match="has a child 'a' already") as taken:
        await top.ask(StartChild(child("a")))
    assert "its own id" in str(taken.value.hint)
    with pytest.raises(ChildRunning, match="top/a is running: it cannot be deleted"):
        await top.ask(DeleteChild("a"))
    with pytest.raises(ChildRunning, match="TerminateChild"):
        await top.ask(RestartChild("a"))

    await top.ask(TerminateChild("a"))
    await top.ask(TerminateChild("a"))  # once is enough, twice does no harm
    assert (await statuses(top), await counts(top)) == ({"a": "stopped"}, (1, 0, 0, 1))
    with pytest.raises(NameTaken) as taken:
        await top.ask(StartChild(child("a")))
    assert "RestartChild" in str(taken.value.hint)
    ref = await top.ask(RestartChild("a"))
    assert await ref.ask(Echo(1)) == 1
    assert log == ["+top/a", "-top/a shutdown", "+top/a", 1]
    assert system.find_cell("top/a").incarnation == 2  # type: ignore[union-attr]  # it runs

    await top.ask(TerminateChild("a"))
    await top.ask(DeleteChild("a"))
    assert (await statuses(top), await counts(top)) == ({}, (0, 0, 0, 0))
    for message in (TerminateChild("a"), RestartChild("a"), DeleteChild("a")):
        with pytest.raises(ChildNotFound, match="top has no child 'a'"):
            await top.ask(message)
    assert await (await top.ask(StartChild(child("a")))).ask(Echo(2)) == 2


async def test_child_adm_simple(system: ActorSystem) -> None:
    log: list[object] = []
    top = await supervise_dynamically(system, child("template", log))
    assert await counts(top) == (0, 0, 0, 0)
    for id in ("a", "b"):
        await top.ask(StartChild(id=id))
    assert (await statuses(top), await counts(top)) == ({"a": "running", "b": "running"}, (2, 2, 0, 2))
    with pytest.raises(NameTaken):
        await top.ask(StartChild(id="a"))
    with pytest.raises(ChildRunning):
        await top.ask(DeleteChild("a"))
    with pytest.raises(ChildRunning):
        await top.ask(RestartChild("a"))
    await top.ask(TerminateChild("a"))  # and forget it
    assert (await statuses(top), await counts(top)) == ({"b": "running"}, (1, 1, 0, 1))
    for message in (TerminateChild("a"), RestartChild("a"), DeleteChild("a")):
        with pytest.raises(ChildNotFound):
            await top.ask(message)
    with pytest.raises(ConfigError, match="made by a template"):
        await top.ask(StartChild(child("c")))
    with pytest.raises(ConfigError, match="id = 'a/b'"):
        await top.ask(StartChild(id="a/b"))
    assert log == ["+top/a", "+top/b", "-top/a shutdown"]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("id", ""),
        ("id", "a/b"),
        ("id", 7),
        ("start", None),
        ("restart", "sometimes"),
        ("shutdown", -1),
        ("shutdown", "gentle"),
        ("shutdown", True),
        ("shutdown", float("inf")),
        ("significant", True),  # of a child that is permanent
        ("start_timeout", 0),
        ("concurrency", 0),
        ("mailbox", 0),
        ("overflow", "burst"),
        ("passivate_after", 0),
    ],
)
def test_child_specs(argument: str, value: object) -> None:
    arguments: dict[str, object] = {"id": "a", "start": Child, argument: value}
    with pytest.raises(ConfigError, match=f"ChildSpec: {argument} = {value!r}") as caught:
        ChildSpec(**arguments)  # type: ignore[arg-type]  # wrong on purpose
    assert str(caught.value.hint).startswith("It must be")


SIGNIFICANT = ChildSpec(id="a", start=Child, restart="transient", significant=True)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Supervisor(strategy="all_for_one"), "Supervisor: strategy = 'all_for_one'"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: Supervisor(auto_shutdown="always"), "Supervisor: auto_shutdown = 'always'"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: Supervisor(intensity=-1), "Supervisor: intensity = -1"),
        (lambda: Supervisor(period=0), "Supervisor: period = 0"),
        (lambda: Supervisor([SIGNIFICANT]), "its child 'a' has significant = True"),
        (lambda: DynamicSupervisor(template=SIGNIFICANT), "DynamicSupervisor: template: significant = True"),
        (lambda: DynamicSupervisor(max_children=0), "DynamicSupervisor: max_children = 0"),
        (lambda: PartitionSupervisor(child("a"), partitions=0), "PartitionSupervisor: partitions = 0"),
        (lambda: Pool(Child, replicas=0), "Pool: replicas = 0"),
        (lambda: Pool(Child, replicas=3, max_replicas=2), "Pool: max_replicas = 2"),
    ],
)
def test_sup_flags(make: type[Actor[None]], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        make()
    assert caught.value.hint


async def test_get_callback_module(system: ActorSystem) -> None:
    """Of which class a supervisor is can be seen from outside."""
    await supervise(system, [ChildSpec(id="x", start=DynamicSupervisor)])
    (top,) = tree(system)
    assert (top.kind, top.children[0].kind) == ("Supervisor", "DynamicSupervisor")
