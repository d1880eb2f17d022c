"""What the runtime's own tree does when a branch of it ends."""

import asyncio
from pathlib import Path

import pytest

from repertory import Predict, Runtime
from repertory.errors import InjectedCrash, RuntimeClosed
from repertory.events import ActorRestarted, Event, LocalModelExited, LocalModelStarted
from repertory.testing import ScriptedLM
from tests.runtime.programs import LOCAL

ANSWER = '{"answer": "yes"}'


class Watch:
    """A hook that keeps events and lets a test wait for one."""

    def __init__(self) -> None:
        self.seen: list[Event] = []
        self._news = asyncio.Event()

    def __call__(self, event: Event) -> None:
        self.seen.append(event)
        self._news.set()

    async def until(self, kind: type[Event], times: int = 1) -> None:
        while sum(isinstance(event, kind) for event in self.seen) < times:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 60)


async def test_programs_come_back_with_their_supervisor(tmp_path: Path) -> None:
    watch = Watch()
    async with Runtime(lm=ScriptedLM(lambda _: ANSWER), store=tmp_path / "store.db", hooks=[watch]) as runtime:
        first = await runtime.start(Predict("question -> answer"), name="first")
        second = await runtime.start(Predict("question -> answer"), name="second")
        await runtime.stop(second)
        runtime.actor("root/programs").kill(InjectedCrash("on purpose"))
        await watch.until(ActorRestarted)
        assert (await first(question="are you back?")).answer == "yes"
        assert not runtime.actor("root/programs/second").running


@pytest.mark.local_model
async def test_a_dead_local_model_is_an_obstacle_until_it_is_back() -> None:
    watch = Watch()
    async with Runtime(LOCAL, store=None, hooks=[watch]) as runtime:
        assert runtime.obstacles() == []
        runtime.actor("root/models/default").kill(InjectedCrash("on purpose"))
        await asyncio.sleep(0)
        assert runtime.obstacles() == ["the local model 'default' is down"]
        await watch.until(LocalModelStarted, times=2)
        assert runtime.obstacles() == []
        assert not any(isinstance(event, LocalModelExited) for event in watch.seen), "it was stopped, not lost"


async def test_a_runtime_is_entered_once() -> None:
    runtime = Runtime(lm=ScriptedLM([]), store=None)
    async with runtime:
        with pytest.raises(RuntimeClosed, match="a runtime is entered once"):
            await runtime.__aenter__()
    with pytest.raises(RuntimeClosed, match="a runtime is entered once"):
        await runtime.__aenter__()


async def test_a_runtime_that_is_closed_is_an_obstacle() -> None:
    runtime = Runtime(lm=ScriptedLM([]), store=None)
    async with runtime:
        assert runtime.obstacles() == []
    assert runtime.obstacles() == ["the runtime takes no new work"]
