"""Large values of runs: in the store once, whole for whoever asks, and nobody's memory is full of them."""

import asyncio
import json
import tracemalloc
from collections.abc import Iterator
from contextlib import closing, contextmanager
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

import repertory as rp
from repertory.errors import ReplyError, StoreError
from repertory.providers.messages import LMRequest
from repertory.runtime.run_log import PAGE, RunLog
from repertory.runtime.runtime import Runtime
from repertory.store import Store
from repertory.store.tables import contents, run_events, runs
from repertory.testing import FakeClock, ScriptedLM
from tests.store.conftest import location, postgres, sqlite_file

__all__ = ["location", "postgres", "sqlite_file"]

LOOKALIKE = {"$content": "0" * 32, "$spilled": {"$content": "1" * 32}, "spilled": ["inputs"]}
LARGE = "An elephant is large. " * 5000


class Agent(rp.Module):
    """Asks again and again, with all that was answered so far."""

    def __init__(self) -> None:
        self.act = rp.Predict("history: list[str] -> action")

    async def forward(self, steps: int) -> rp.Prediction:
        history: list[str] = []
        for _ in range(steps):
            history.append((await self.act(history=history)).action)
        return rp.Prediction(last=history[-1])


class Relay(rp.Module):
    """Hands a large value from step to step."""

    def __init__(self) -> None:
        self.grow = rp.Predict("seed -> text")
        self.shrink = rp.Predict("text -> summary")

    async def forward(self, seed: str) -> rp.Prediction:
        grown = await self.grow(seed=seed)
        same = await rp.step("copy", lambda text: {"copy": text, "like": LOOKALIKE}, grown.text)
        summary = await self.shrink(text=same["copy"])
        return rp.Prediction(summary=summary.summary, text=same["copy"], like=same["like"])


def relayed(request: LMRequest) -> str:
    name = request.messages[-1].text.partition(": ")[0]
    return json.dumps({"text": LARGE} if name == "seed" else {"summary": "large"})


def acting() -> ScriptedLM:
    """Each action is another one, of some two hundred characters."""
    lm = ScriptedLM(lambda _: json.dumps({"action": f"{lm.asked:>6} " * 30}), keep=0)
    return lm


async def size_of(where: str) -> int:
    """Characters of JSON in the store's runs."""
    store = await Store.open(where)
    try:
        size = 0
        for column in (contents.c.data, run_events.c.data, runs.c.inputs, runs.c.outputs):
            ((sum_of,),) = await store.read(select(func.coalesce(func.sum(func.length(column)), 0)))
            size += sum_of
        return size
    finally:
        await store.close()


@contextmanager
def reads_counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The queries that are made while this lasts."""
    made: list[str] = []
    read = Store.read

    async def counted(self: Store, statement: Any) -> Any:
        made.append(str(statement))
        return await read(self, statement)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "read", counted)
        yield made


async def test_what_an_agent_leaves_in_the_store_grows_with_its_steps_and_no_faster(
    tmp_path: Path,
) -> None:
    sizes = {}
    for steps in (150, 300):
        async with Runtime(lm=acting(), store=tmp_path / f"{steps}.db") as runtime:
            await runtime.start(Agent())
            handle = await runtime.submit("Agent", {"steps": steps})
            await handle.result()
        sizes[steps] = await size_of(str(tmp_path / f"{steps}.db"))
    assert sizes[300] < 2.2 * sizes[150]
    assert sizes[300] < 300 * 2000  # the histories as they are would have 9 MB


@pytest.mark.parametrize("steps", [300, pytest.param(1000, marks=pytest.mark.slow)])
async def test_a_long_run_is_read_with_few_queries_and_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    async with Runtime(lm=acting(), store=tmp_path / "s.db") as runtime:
        await runtime.start(Agent())
        handle = await runtime.submit("Agent", {"steps": steps})
        last = (await handle.result()).last
        assert runtime.journal is not None
        with reads_counted(monkeypatch) as made:
            history = await runtime.journal.history(handle.id)
        assert len(history.steps) == steps
        assert len(made) <= ceil((steps + 2) / PAGE)
        with closing(Measured()) as memory:
            listed = await handle.steps()
            assert [len(step.inputs["history"]) for step in listed if step.inputs is not None] == [*range(steps)]
            assert listed[-1].outputs == {"action": last}
            assert memory.peak() < steps * 20_000
            del listed
            memory.begin()
            numbers = [event.id async for event in handle.events()]
            assert numbers == [*range(1, steps + 3)]
            assert memory.peak() < 4_000_000
        page = await handle.steps(first=steps - 2, limit=1)
        assert [(step.number, len(step.inputs["history"])) for step in page if step.inputs is not None] == [
            (steps - 2, steps - 2)
        ]


class Measured:
    """Python's memory, from now on."""

    def __init__(self) -> None:
        tracemalloc.start()
        self.begin()

    def begin(self) -> None:
        tracemalloc.reset_peak()
        self._before = tracemalloc.get_traced_memory()[0]

    def peak(self) -> int:
        return tracemalloc.get_traced_memory()[1] - self._before

    def close(self) -> None:
        tracemalloc.stop()


async def test_a_document_that_many_runs_are_given_is_in_the_store_once(location: str) -> None:
    async with Runtime(lm=ScriptedLM(lambda _: '{"b": "x"}'), store=location) as runtime:
        deployment = await runtime.start(rp.Predict("a, number: int -> b"), name="p")
        inputs = [{"a": LARGE, "number": number} for number in range(20)]
        for each in inputs:
            await deployment.run(each, key=str(each["number"]))
        handle = await runtime.submit("p", inputs[7], key="7")  # the same: it is read, and compared
        assert (await handle.status()).inputs == inputs[7]
        assert (await deployment.recorded(["19"]))["19"].inputs == json.dumps(inputs[19], separators=(",", ":"))
        listed = await runtime.runs.latest("p", None, 30)
        assert [each.inputs["number"] for each in listed] == [*range(19, -1, -1)]
    assert await size_of(location) < 2 * len(LARGE)


async def test_what_was_spilled_is_whole_for_whoever_asks(location: str) -> None:
    async with Runtime(lm=ScriptedLM(relayed), store=location) as runtime:
        deployment = await runtime.start(Relay())
        handle = await runtime.submit("Relay", {"seed": LARGE}, key="k")
        outputs = {"summary": "large", "text": LARGE, "like": LOOKALIKE}
        assert (await handle.result()).outputs == outputs
        status = await handle.status()
        assert (status.inputs, status.outputs) == ({"seed": LARGE}, outputs)
        assert (await deployment.run({"seed": LARGE}, key="k")).prediction.outputs == outputs
        grown, copied, shrunk = await handle.steps()
        assert (grown.inputs, grown.outputs) == ({"seed": LARGE}, {"text": LARGE})
        assert copied.outputs == {"copy": LARGE, "like": LOOKALIKE}
        assert (shrunk.inputs, shrunk.outputs) == ({"text": LARGE}, {"summary": "large"})
        events = [event async for event in handle.events()]
        assert [event.data["outputs"] for event in events if event.kind == "step"] == [
            *(grown.outputs, copied.outputs, shrunk.outputs)
        ]
        assert not any("spilled" in event.data for event in events)
        assert (await handle.replay()).outputs == outputs


async def test_large_outputs_are_read_again_by_a_run_that_goes_on(location: str) -> None:
    lm = ScriptedLM(lambda request: relayed(request) if "seed" in request.messages[-1].text else StoreError("no"))
    async with Runtime(lm=lm, store=location) as runtime:
        await runtime.start(Relay())
        handle = await runtime.submit("Relay", {"seed": "s"})
        with pytest.raises(StoreError):
            await handle.result()
    again = ScriptedLM(relayed)
    async with Runtime(lm=again, store=location) as runtime:
        await runtime.start(Relay())
        handle = await runtime.find_run(handle.id)
        async with asyncio.timeout(30):
            if (await handle.status()).ended:
                await handle.retry()
            assert (await handle.result()).outputs == {"summary": "large", "text": LARGE, "like": LOOKALIKE}
    assert again.asked == 1


async def test_a_failure_that_quotes_a_large_reply_is_the_same_when_it_is_read(tmp_path: Path) -> None:
    class Catches(rp.Module):
        def __init__(self) -> None:
            self.ask = rp.Predict("a -> b: int")
            self.tell = rp.Predict("c -> d")

        async def forward(self, a: str) -> rp.Prediction:
            try:
                await self.ask(a=a)
            except ReplyError as error:
                self.reply = error.reply
            return await self.tell(c="it failed")

    lm = ScriptedLM(lambda request: '{"d": "x"}' if "it failed" in request.messages[-1].text else LARGE)
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        program = Catches()
        await runtime.start(program, name="catches")
        handle = await runtime.submit("catches", {"a": "x"})
        await handle.result()
        first, program.reply = program.reply, ""
        await handle.replay()
        assert (program.reply, program.reply) == (first, LARGE)
        assert (await handle.steps())[0].error is not None
    assert await size_of(str(tmp_path / "s.db")) < 2 * len(LARGE) + 10_000


async def test_a_fork_uses_what_it_has_inherited(location: str) -> None:
    """So retention, which goes by when contents were last used, keeps it when the first run is gone."""
    async with Runtime(lm=ScriptedLM(relayed), store=location) as runtime:
        await runtime.start(Relay())
        handle = await runtime.submit("Relay", {"seed": "s"})
        await handle.result()
        store = await Store.open(location)
        await store.write(update(contents), {"used_at": 0.0})
        fork = await handle.fork(2)
        assert (await fork.result()).text == LARGE
        ((unused,),) = await store.read(
            select(func.count()).select_from(contents).where(contents.c.used_at == 0.0)
        )
        assert unused == 0
        await store.close()
        assert [step.outputs for step in await fork.steps()] == [step.outputs for step in await handle.steps()]


async def test_a_large_value_that_is_signalled_is_heard_after_a_restart(tmp_path: Path) -> None:
    class Hears(rp.Module):
        def __init__(self) -> None:
            self.ask = rp.Predict("a -> b")

        async def forward(self, a: str) -> rp.Prediction:
            first = await rp.wait_for_signal("go")
            second = await rp.wait_for_signal("go")
            return rp.Prediction(first=first, second=second)

    async with Runtime(lm=ScriptedLM([]), store=tmp_path / "s.db") as runtime:
        await runtime.start(Hears(), name="hears")
        handle = await runtime.submit("hears", {"a": "x"})
        await handle.signal("go", {"large": LARGE})
        async with asyncio.timeout(30):
            async for event in handle.events():
                if event.kind == "signal":
                    break
    async with Runtime(lm=ScriptedLM([]), store=tmp_path / "s.db") as runtime:
        await runtime.start(Hears(), name="hears")
        handle = await runtime.find_run(handle.id)
        await handle.signal("go", LOOKALIKE)
        heard = await handle.result(timeout=30)
        assert heard.outputs == {"first": {"large": LARGE}, "second": LOOKALIKE}


async def test_a_log_without_a_store_keeps_the_latest_events_and_no_more_than_it_may() -> None:
    log = RunLog("r", FakeClock(), None)
    for number in range(100):
        log.append("step", {"step": "s", "outputs": {"number": number, "text": LARGE}})
    assert log.size < 1_100_000
    gap, *kept = log.kept(0)
    assert (gap.kind, gap.data) == ("gap", {"from": 1, "to": kept[0].id - 1})
    assert kept[-1].data["outputs"]["number"] == 99
