"""The cases of EEP-56, significant children, under their names in OTP's supervisor_SUITE."""

import asyncio
from collections.abc import Sequence

import pytest

from repertory.actors import NORMAL, SHUTDOWN, ActorSystem, Exit
from repertory.errors import ConfigError
from repertory.supervisors import Backoff, ChildSpec, DynamicSupervisor, StartChild, Supervisor, TerminateChild
from repertory.supervisors.child import Restart
from repertory.supervisors.decision import AutoShutdown, Strategy
from tests.supervisors.tree import ABNORMAL, Child, Starts, Unwanted, child, end, statuses, supervise


def significant(id: str, restart: Restart, log: list[object] | None = None) -> ChildSpec:
    return child(id, log, restart, significant=True)


async def until_it_ends(
    system: ActorSystem,
    children: Sequence[ChildSpec],
    ends: Sequence[tuple[str, Exit]],
    *,
    auto_shutdown: AutoShutdown,
    strategy: Strategy = "one_for_one",
) -> int | None:
    """Have children end; return after how many of these ends the supervisor was gone, None if it never was."""
    exits: list[Exit] = []
    top = await supervise(system, children, auto_shutdown=auto_shutdown, strategy=strategy, on_exit=exits.append)
    for number, (id, exit) in enumerate(ends, 1):
        await end(system.ref(f"top/{id}"), exit)
        if not top.running:
            assert exits == [SHUTDOWN]
            assert [system.find_cell(f"top/{spec.id}") for spec in children] == [None] * len(children)
            return number
    await system.stop()
    return None


@pytest.mark.parametrize("exit", [NORMAL, SHUTDOWN, ABNORMAL], ids=lambda exit: exit.kind)
async def test_significant_temporary(system: ActorSystem, exit: Exit) -> None:
    """A temporary child ends for good whatever it ends by."""
    pair = [significant("a", "temporary"), significant("b", "temporary"), child("c", restart="temporary")]
    assert await until_it_ends(system, pair, [("a", exit)], auto_shutdown="any_significant") == 1
    assert await until_it_ends(system, pair, [("c", exit)], auto_shutdown="any_significant") is None
    both = [("c", exit), ("a", exit), ("b", exit)]
    assert await until_it_ends(system, pair, both, auto_shutdown="all_significant") == 3


async def test_significant_transient(system: ActorSystem) -> None:
    """A transient child that fails is restarted: only its end as wished counts."""
    pair = [significant("a", "transient"), significant("b", "transient"), child("c", restart="transient")]
    ends = [("a", ABNORMAL), ("c", NORMAL), ("a", NORMAL), ("b", ABNORMAL), ("b", SHUTDOWN)]
    assert await until_it_ends(system, pair, ends, auto_shutdown="any_significant") == 3
    assert await until_it_ends(system, pair, ends, auto_shutdown="all_significant") == 5


async def test_significant_simple(system: ActorSystem) -> None:
    """Children that come and go are never significant; OTP would allow it, and end with the first of them."""
    template = significant("a", "temporary")
    with pytest.raises(ConfigError, match="significant = True"):
        DynamicSupervisor(template=template)
    top = await system.spawn(DynamicSupervisor, name="top")
    with pytest.raises(ConfigError, match="significant = True"):
        await top.ask(StartChild(template))
    assert top.running


async def test_significant_bystander(system: ActorSystem) -> None:
    """One that is stopped for the sake of a sibling's restart, or on request, has not ended by itself."""
    group = [child("a"), significant("b", "temporary"), significant("c", "transient")]
    strategies: tuple[Strategy, ...] = ("one_for_all", "rest_for_one")
    for strategy in strategies:
        assert (
            await until_it_ends(
                system,
                group,
                [("a", ABNORMAL)],
                auto_shutdown="any_significant",
                strategy=strategy,
            )
            is None
        )
    top = await supervise(system, group, auto_shutdown="any_significant")
    for id in "bc":
        await top.ask(TerminateChild(id))
    assert await statuses(top) == {"a": "running", "c": "stopped"}
    await top.ask(
        StartChild(ChildSpec(id="d", start=Unwanted, restart="transient", significant=True))
    )  # nor has it
    assert top.running


async def test_significant_escalation(system: ActorSystem) -> None:
    """A supervisor that ended for the end of its significant child has itself ended, by shutdown."""

    def nested(*, matters: bool) -> ChildSpec:
        return ChildSpec(
            id="x",
            start=lambda: Supervisor([significant("a", "transient")], auto_shutdown="any_significant"),
            restart="transient",
            significant=matters,
        )

    ends = [("x/a", NORMAL)]
    assert await until_it_ends(system, [nested(matters=True)], ends, auto_shutdown="any_significant") == 1
    top = await supervise(system, [nested(matters=False)], auto_shutdown="any_significant")
    await end(system.ref("top/x/a"), NORMAL)
    assert await statuses(top) == {"x": "stopped"}
    assert system.find_cell("top/x") is None


async def test_significant_upgrade(system: ActorSystem) -> None:
    """Flags do not change in a life; the next life of a supervisor has those that it is then made with."""
    flags: list[AutoShutdown] = ["any_significant"]
    nested = ChildSpec(
        id="x",
        start=lambda: Supervisor(
            [child("a", restart="transient", significant=flags[-1] != "never")], auto_shutdown=flags[-1]
        ),
    )
    top = await supervise(system, [nested])
    flags.append("never")
    await end(system.ref("top/x/a"), NORMAL)  # ends x, by its first flags
    assert system.ref("top/x").running
    await end(system.ref("top/x/a"), NORMAL)
    assert await statuses(system.ref("top/x")) == {"a": "stopped"}
    with pytest.raises(ConfigError, match="auto_shutdown = 'never'"):
        await system.ref("top/x").ask(StartChild(significant("b", "transient")))
    assert await statuses(top) == {"x": "running"}


def test_a_permanent_child_cannot_be_significant() -> None:
    with pytest.raises(ConfigError, match="ChildSpec: significant = True"):
        ChildSpec(id="a", start=Child, significant=True)


async def test_a_significant_child_that_waits_for_its_groups_restart_has_not_ended(system: ActorSystem) -> None:
    exits: list[Exit] = []
    starts = Starts(lambda number: number == 2)
    top = await supervise(
        system,
        [
            child("a", restart="transient", significant=True),
            ChildSpec(id="b", start=lambda: Child(None, starts)),
            child("c", restart="transient", significant=True),
        ],
        strategy="rest_for_one",
        auto_shutdown="all_significant",
        backoff=Backoff(initial=1, maximum=1, jitter=0),
        on_exit=exits.append,
    )
    await end(system.ref("top/b"), ABNORMAL)
    await asyncio.sleep(1.1)
    assert await statuses(top) == {"a": "running", "b": "restarting", "c": "waiting"}
    await end(system.ref("top/a"), NORMAL)
    await asyncio.sleep(1)
    assert await statuses(top) == {"a": "stopped", "b": "running", "c": "running"}
    await end(system.ref("top/c"), NORMAL)
    assert exits == [SHUTDOWN]
