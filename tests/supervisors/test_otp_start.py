"""OTP's cases of starting a supervisor and its children, under their names in OTP's supervisor_SUITE."""

import pytest

from repertory.actors import ActorSystem
from repertory.errors import ActorDown, ChildNotFound, ConfigError, StartFailed
from repertory.events import ActorStopped, Event
from repertory.supervisors import (
    ChildSpec,
    GetChildSpec,
    RestartChild,
    StartChild,
    Supervisor,
    TerminateChild,
)
from tests.actors.kernel import Echo, of
from tests.supervisors.tree import (
    Child,
    Starts,
    Unwanted,
    causes,
    child,
    counts,
    statuses,
    supervise,
    supervise_dynamically,
)


class UnwantedSupervisor(Supervisor):
    async def started(self) -> None:
        await super().started()
        self.stop()


async def test_sup_start_normal(system: ActorSystem, events: list[Event]) -> None:
    top = await supervise(system, [])
    assert top.running
    await system.stop()
    assert not top.running
    assert of(ActorStopped, events) == [ActorStopped("top", 1)]


async def test_sup_start_ignore_init(system: ActorSystem) -> None:
    """A supervisor that is not wanted leaves its parent and nobody behind it."""
    log: list[object] = []
    nested = ChildSpec(id="x", start=lambda: UnwantedSupervisor([child("a", log)]))
    top = await supervise(system, [nested, child("b", log)])
    assert log == ["+top/x/a", "-top/x/a shutdown", "+top/b"]
    assert await statuses(top) == {"x": "stopped", "b": "running"}
    with pytest.raises(StartFailed, match="stopped while it started"):
        await system.spawn(UnwantedSupervisor, name="alone")
    assert system.find_cell("alone") is None


async def test_sup_start_ignore_child(system: ActorSystem) -> None:
    top = await supervise(system, [])
    ref = await top.ask(StartChild(ChildSpec(id="a", start=Unwanted)))
    await top.ask(StartChild(child("b")))
    assert not ref.running
    assert await statuses(top) == {"a": "stopped", "b": "running"}
    assert await counts(top) == (2, 1, 0, 2)


async def test_sup_start_ignore_temporary_child(system: ActorSystem) -> None:
    top = await supervise(system, [ChildSpec(id="a", start=Unwanted, restart="temporary"), child("b")])
    assert await statuses(top) == {"b": "running"}
    assert await counts(top) == (1, 1, 0, 1)


async def test_sup_start_ignore_temporary_child_start_child(system: ActorSystem) -> None:
    top = await supervise(system, [])
    for _ in range(2):  # it is not known afterwards, so its id is free
        await top.ask(StartChild(ChildSpec(id="a", start=Unwanted, restart="temporary")))
    await top.ask(StartChild(child("b")))
    assert await statuses(top) == {"b": "running"}
    assert await counts(top) == (1, 1, 0, 1)


def sometimes_unwanted(wanted: bool) -> Child:
    return Child() if wanted else Unwanted()


async def test_sup_start_ignore_temporary_child_start_child_simple(system: ActorSystem) -> None:
    top = await supervise_dynamically(
        system,
        ChildSpec(id="template", start=sometimes_unwanted, restart="temporary"),  # type: ignore[arg-type]  # its argument comes with StartChild
    )
    assert not (await top.ask(StartChild(id="a", args=(False,)))).running
    assert (await top.ask(StartChild(id="b", args=(True,)))).running
    assert await statuses(top) == {"b": "running"}
    assert await counts(top) == (1, 1, 0, 1)


async def test_sup_start_ignore_permanent_child_start_child_simple(system: ActorSystem) -> None:
    top = await supervise_dynamically(
        system,
        ChildSpec(id="template", start=sometimes_unwanted),  # type: ignore[arg-type]  # its argument comes with StartChild
    )
    assert not (await top.ask(StartChild(id="a", args=(False,)))).running
    assert (await top.ask(StartChild(id="b", args=(True,)))).running
    assert await statuses(top) == {"b": "running"}
    assert await counts(top) == (1, 1, 0, 1)
    await system.stop()
    assert not top.running


async def test_sup_start_error_return(system: ActorSystem) -> None:
    """What should make a supervisor makes something else."""
    with pytest.raises(StartFailed):
        await system.spawn(lambda: "no actor", name="top")  # type: ignore[arg-type,return-value]  # wrong on purpose
    assert system.find_cell("top") is None


async def test_sup_start_fail(system: ActorSystem) -> None:
    error = ZeroDivisionError()

    def fail() -> Supervisor:
        raise error

    with pytest.raises(StartFailed) as caught:
        await system.spawn(fail, name="top")
    assert caught.value.__cause__ is error
    assert system.find_cell("top") is None


async def test_sup_start_child_returns_error(system: ActorSystem) -> None:
    error = ValueError("no fuel")
    top = await supervise(system, [child("a")])
    with pytest.raises(StartFailed) as caught:
        await top.ask(StartChild(ChildSpec(id="b", start=lambda: Child(None, lambda: error))))
    assert caught.value.__cause__ is error
    assert await statuses(top) == {"a": "running"}
    await top.ask(StartChild(child("b")))


async def test_sup_start_child_returns_error_simple(system: ActorSystem) -> None:
    starts = Starts(lambda number: number == 1)
    top = await supervise_dynamically(system, ChildSpec(id="template", start=lambda: Child(None, starts)))
    with pytest.raises(StartFailed) as caught:
        await top.ask(StartChild(id="a"))
    assert causes(caught.value) == [StartFailed, ValueError]
    assert await counts(top) == (0, 0, 0, 0)
    assert await (await top.ask(StartChild(id="a"))).ask(Echo(1)) == 1


async def test_sup_start_restart_child_returns_error(system: ActorSystem) -> None:
    starts = Starts(lambda number: number == 2)
    top = await supervise(system, [ChildSpec(id="a", start=lambda: Child(None, starts))])
    await top.ask(TerminateChild("a"))
    with pytest.raises(StartFailed):
        await top.ask(RestartChild("a"))
    assert await statuses(top) == {"a": "stopped"}
    with pytest.raises(ActorDown):
        await system.ref("top/a").ask(Echo(1))
    ref = await top.ask(RestartChild("a"))
    assert await ref.ask(Echo(1)) == 1


async def test_sup_start_map(system: ActorSystem) -> None:
    """A child's specification can be read, with what it did not say."""
    brutal = ChildSpec(id="b", start=Child, shutdown="brutal", restart="transient")
    top = await supervise(system, [ChildSpec(id="a", start=Child), brutal])
    spec = await top.ask(GetChildSpec("a"))
    assert (spec.id, spec.start, spec.restart, spec.significant) == ("a", Child, "permanent", False)
    assert [spec.patience(supervisor=supervisor) for supervisor in (False, True)] == [5.0, None]
    assert await top.ask(GetChildSpec("b")) is brutal
    with pytest.raises(ChildNotFound, match="top has no child 'c'"):
        await top.ask(GetChildSpec("c"))


async def test_sup_start_map_simple(system: ActorSystem) -> None:
    template = ChildSpec(id="template", start=Child, shutdown="infinity")
    top = await supervise_dynamically(system, template)
    ref = await top.ask(StartChild(id="a"))
    spec = await top.ask(GetChildSpec("a"))
    assert (ref.path, spec.id, spec.start, spec.shutdown) == ("top/a", "a", Child, "infinity")


async def test_sup_start_map_faulty_specs(system: ActorSystem) -> None:
    with pytest.raises(TypeError, match="'id'"):
        ChildSpec(start=Child)  # type: ignore[call-arg]  # wrong on purpose
    with pytest.raises(TypeError, match="'start'"):
        ChildSpec(id="a")  # type: ignore[call-arg]  # wrong on purpose
    with pytest.raises(TypeError, match="'silly_flag'"):
        ChildSpec(id="a", start=Child, silly_flag=True)  # type: ignore[call-arg]  # wrong on purpose
    with pytest.raises(ConfigError, match=r"Supervisor: children\[1\] = 'b'"):
        Supervisor([child("a"), "b"])  # type: ignore[list-item]  # wrong on purpose
