"""OTP's cases of which end is followed by a restart, under their names in OTP's supervisor_SUITE."""

from dataclasses import dataclass
from typing import Literal

import pytest

from repertory.actors import NORMAL, SHUTDOWN, ActorSystem, Exit
from repertory.errors import ActorDown, StartFailed
from repertory.events import ActorRestarted, Event
from repertory.supervisors import ChildSpec, Supervisor
from repertory.supervisors.child import Restart
from tests.actors.kernel import Echo, of
from tests.supervisors.tree import ABNORMAL, Child, causes, child, children_of, end, statuses, supervise


@dataclass
class Bench:
    """A supervisor with one child to end, and a bystander."""

    system: ActorSystem
    events: list[Event]

    async def check(
        self, restart: Restart, exit: Exit, expected: Literal["restarted", "kept", "forgotten"]
    ) -> None:
        top = await supervise(self.system, [child("a", restart=restart), child("bystander")])
        ref = self.system.ref("top/a")
        await end(ref, exit)
        children = await children_of(top)
        restarted = expected == "restarted"
        assert [(event.path, event.incarnation, event.cause) for event in of(ActorRestarted, self.events)] == (
            [("top/a", 2, exit.error)] if restarted else []
        )
        assert ("a" in children) == (expected != "forgotten")
        if "a" in children:
            assert children["a"].status == ("running" if restarted else "stopped")
            assert children["a"].restarts == int(restarted)
            assert children["a"].last_error is exit.error
        if restarted:
            assert await ref.ask(Echo(1)) == 1
        else:
            with pytest.raises(ActorDown):
                await ref.ask(Echo(1))
        assert children["bystander"].restarts == 0
        assert await self.system.ref("top/bystander").ask(Echo(1)) == 1


@pytest.fixture
def bench(system: ActorSystem, events: list[Event]) -> Bench:
    return Bench(system, events)


async def test_permanent_normal(bench: Bench) -> None:
    await bench.check("permanent", NORMAL, "restarted")


async def test_transient_normal(bench: Bench) -> None:
    await bench.check("transient", NORMAL, "kept")


async def test_temporary_normal(bench: Bench) -> None:
    await bench.check("temporary", NORMAL, "forgotten")


async def test_permanent_shutdown(bench: Bench) -> None:
    await bench.check("permanent", SHUTDOWN, "restarted")


async def test_transient_shutdown(bench: Bench) -> None:
    await bench.check("transient", SHUTDOWN, "kept")


async def test_temporary_shutdown(bench: Bench) -> None:
    await bench.check("temporary", SHUTDOWN, "forgotten")


async def test_permanent_abnormal(bench: Bench) -> None:
    await bench.check("permanent", ABNORMAL, "restarted")


async def test_transient_abnormal(bench: Bench) -> None:
    await bench.check("transient", ABNORMAL, "restarted")


async def test_temporary_abnormal(bench: Bench) -> None:
    await bench.check("temporary", ABNORMAL, "forgotten")


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_temporary_bystander(
    system: ActorSystem, strategy: Literal["one_for_all", "rest_for_one"], events: list[Event]
) -> None:
    """Stopped with its group, and not started again."""
    log: list[object] = []
    top = await supervise(system, [child("a", log), child("b", log, "temporary")], strategy=strategy)
    log.clear()
    await end(system.ref("top/a"), ABNORMAL)
    assert log == ["-top/a error", "-top/b shutdown", "+top/a"]
    assert await statuses(top) == {"a": "running"}
    assert system.find_cell("top/b") is None
    assert len(of(ActorRestarted, events)) == 1


async def test_faulty_application_shutdown(system: ActorSystem) -> None:
    """Whoever starts a whole tree is told the root cause, from however deep it comes."""

    class Faulty(Child):
        async def started(self) -> None:
            raise ModuleNotFoundError("an_undefined_module")

    deep = ChildSpec(id="y", start=lambda: Supervisor([ChildSpec(id="faulty", start=Faulty)]))
    with pytest.raises(StartFailed, match="an_undefined_module") as caught:
        await supervise(system, [ChildSpec(id="x", start=lambda: Supervisor([deep]))])
    assert causes(caught.value) == [StartFailed, StartFailed, StartFailed, StartFailed, ModuleNotFoundError]
    assert [system.find_cell(path) for path in ("top", "top/x", "top/x/y", "top/x/y/faulty")] == [None] * 4
