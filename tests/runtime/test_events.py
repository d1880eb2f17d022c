"""The events of a run: numbered without a gap, for any number of readers, from any place, at any time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import repertory as rp
from repertory.errors import LMRequestRejected, RuntimeClosed, RunUnknown
from repertory.providers.messages import Delta, LMRequest, TextDelta
from repertory.runtime.compaction import CALLS
from repertory.runtime.old_runs import OldRuns
from repertory.runtime.run_log import KEPT
from repertory.runtime.runtime import Runtime
from repertory.store import Store
from repertory.testing import Answer
from tests.endpoint import ScriptedEndpoint
from tests.runtime.programs import Two, reply_to, runtime_for
from tests.runtime.submitted import (
    Asked,
    Chain,
    appended,
    as_killed_now,
    events_of,
    events_until,
    failure_of,
    held,
    kinds,
    outcome_of,
    question,
)

FAR_AHEAD = 1e12  # seconds since the Unix epoch


def texts(events: list[rp.RunEvent]) -> list[str]:
    return [event.data["text"] for event in events if event.kind == "delta"]


@pytest.mark.parametrize("durable", [True, False])
async def test_ids_count_from_one_and_a_reader_may_begin_anywhere(tmp_path: Path, durable: bool) -> None:
    async with Runtime(lm=Asked(), store=tmp_path / "s.db" if durable else None) as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"}, durable=durable)
        await outcome_of(handle)
        events = await events_of(handle)
        assert [event.id for event in events] == list(range(1, len(events) + 1))
        assert kinds(events) == ["accepted", "step", "step", "step", "step", "done"]
        assert events[-1].data["status"] == "ok"
        for after in range(len(events) + 2):
            assert await events_of(handle, after) == events[after:]


async def test_many_readers_of_a_run_under_way_see_the_same(tmp_path: Path) -> None:
    lm = Asked(held=lambda text: text.startswith("n2"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await lm.until_asked(3)
        readers = [asyncio.create_task(events_of(handle, after)) for after in (0, 0, 0, 1, 2, 3, 4, 5)]
        await events_until(handle, "step", 2)
        lm.release.set()
        (whole, *others) = await asyncio.gather(*readers)
        assert [event.id for event in whole] == list(range(1, 7))
        assert others == [whole, whole, whole[1:], whole[2:], whole[3:], whole[4:], whole[5:]]


async def test_an_event_is_read_only_when_it_is_on_disk(tmp_path: Path) -> None:
    """Else a reader could have seen what a killed process never did."""
    lm = Asked(held=lambda text: text.startswith("n1"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await lm.until_asked(2)
        await events_until(handle, "step")
        with held(tmp_path / "s.db"):
            lm.release.set()
            await lm.until_asked(2)  # the steps go on meanwhile
            reading = asyncio.create_task(events_until(handle, "step", 2))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not reading.done()
        assert len(await reading) == 3


async def test_a_reader_that_never_reads_holds_nothing_up(tmp_path: Path) -> None:
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        slow = handle.events()
        first = await anext(slow)
        assert (await outcome_of(handle)).answer == "x1234"
        assert [first, *[event async for event in slow]] == await events_of(handle)


async def test_a_reader_that_goes_away_leaves_nothing_behind(tmp_path: Path) -> None:
    lm = Asked(held=lambda _: True)
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"})
        readers = [asyncio.create_task(events_of(handle)) for _ in range(10)]
        await lm.until_asked()
        await events_until(handle, "accepted")
        for reader in readers:
            reader.cancel()
        await asyncio.wait(readers)
        lm.release.set()
        assert (await outcome_of(handle)).answer == "xma"


# --- streaming ---


def streamed(request: LMRequest) -> Answer:
    name, _, value = question(request).partition(": ")
    output = {"text": "middle", "middle": "answer"}[name]
    return f'{{"{output}": "{value} and more"}}'


@pytest.mark.parametrize("durable", [True, False])
async def test_the_pieces_of_an_answer_come_before_its_step(tmp_path: Path, durable: bool) -> None:
    async with Runtime(lm=Asked(streamed), store=tmp_path / "s.db" if durable else None) as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"}, stream=True, durable=durable)
        await outcome_of(handle)
        events = await events_of(handle)
        first, second = (place for place, event in enumerate(events) if event.kind == "step")
        assert kinds(events)[0] == "accepted"
        assert kinds(events)[-1] == "done"
        assert {event.data["step"] for event in events[1:first]} == {"first"}
        assert {event.data["step"] for event in events[first + 1 : second]} == {"second"}
        assert "".join(texts(events[:first])) == '{"middle": "x and more"}'
        assert "".join(texts(events[first:])) == '{"answer": "x and more and more"}'


async def test_pieces_come_only_where_somebody_asked_for_them(tmp_path: Path) -> None:
    async with Runtime(lm=Asked(streamed), store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"})
        await outcome_of(handle)
        assert kinds(await events_of(handle)) == ["accepted", "step", "step", "done"]


async def test_a_correction_voids_the_pieces_before_it(tmp_path: Path) -> None:
    answers = iter(["this is no JSON", '{"middle": "m of x"}'])
    async with Runtime(lm=Asked(lambda _: next(answers)), store=tmp_path / "s.db") as runtime:
        ask = await runtime.start(rp.Predict("text -> middle"))
        handle = await runtime.submit(ask, {"text": "x"}, stream=True)
        assert (await outcome_of(handle)).middle == "m of x"
        events = await events_of(handle)
        (reset,) = [place for place, event in enumerate(events) if event.kind == "reset"]
        assert "".join(texts(events[:reset])) == "this is no JSON"
        assert "".join(texts(events[reset:])) == '{"middle": "m of x"}'
        assert events[reset].data["step"] == "self"


async def test_a_run_that_goes_on_elsewhere_voids_the_pieces_of_the_answer_that_was_cut_off(
    tmp_path: Path,
) -> None:
    class Stuck(Asked):
        """Says a few words, and nothing more."""

        @asynccontextmanager
        async def stream(self, request: LMRequest) -> AsyncIterator[AsyncIterator[Delta]]:
            async def deltas() -> AsyncIterator[Delta]:
                yield TextDelta('{"middle": "x and')
                await asyncio.Event().wait()

            yield deltas()

    async with Runtime(lm=Stuck(), store=tmp_path / "s.db") as runtime:
        ask = await runtime.start(rp.Predict("text -> middle"), name="ask")
        handle = await runtime.submit(ask, {"text": "x"}, stream=True)
        await events_until(handle, "delta")
        as_killed_now(tmp_path / "s.db", tmp_path / "killed.db")
    async with Runtime(lm=Asked(streamed), store=tmp_path / "killed.db") as runtime:
        await runtime.start(rp.Predict("text -> middle"), name="ask")
        handle = await runtime.find_run(handle.id)
        await outcome_of(handle)
        events = await events_of(handle)
        assert kinds(events[:3]) == ["accepted", "delta", "reset"]
        assert {*kinds(events[3:-2])} == {"delta"}
        assert "".join(texts(events[3:])) == '{"middle": "x and more"}'
        assert kinds(events[-2:]) == ["step", "done"]


async def test_the_pieces_of_concurrent_calls_of_one_predictor_are_told_apart(tmp_path: Path) -> None:
    class Both(rp.Module):
        def __init__(self) -> None:
            self.ask = rp.Predict("text -> middle")

        async def forward(self, text: str) -> rp.Prediction:
            one, other = self.ask(text=text + "1"), self.ask(text=text + "2")
            return rp.Prediction(middles=[await one.middle, await other.middle])

    async with Runtime(lm=Asked(streamed), store=tmp_path / "s.db") as runtime:
        await runtime.start(Both())
        handle = await runtime.submit("Both", {"text": "x"}, stream=True)
        await outcome_of(handle)
        answers: dict[str, str] = {}
        for event in await events_of(handle):
            if event.kind == "delta":
                call = repr({**event.data, "text": None})
                answers[call] = answers.get(call, "") + event.data["text"]
        assert sorted(answers.values()) == ['{"middle": "x1 and more"}', '{"middle": "x2 and more"}']


# --- over several lives ---


class Once:
    """Refuses the first time it is asked."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, request: LMRequest) -> Answer:
        if question(request).startswith("n2") and not self.asked:
            self.asked = True
            return LMRequestRejected("no", endpoint="e")
        return appended(request)


async def test_events_go_on_after_a_retry(tmp_path: Path) -> None:
    async with Runtime(lm=Asked(Once()), store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await failure_of(handle)
        failed = await events_of(handle)
        assert (kinds(failed)[-1], failed[-1].data["status"]) == ("done", "failed")
        await handle.retry()
        await outcome_of(handle)
        events = await events_of(handle)
        assert [event.id for event in events] == list(range(1, len(events) + 1))
        assert events[: len(failed)] == failed
        assert [event.data["status"] for event in events if event.kind == "done"] == ["failed", "ok"]
        assert await events_of(handle, failed[-1].id) == events[len(failed) :]


async def test_a_reader_of_a_failed_run_ends_and_one_of_a_retried_run_does_not(tmp_path: Path) -> None:
    lm = Asked(Once(), held=lambda text: text.startswith("n3"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await failure_of(handle)
        await handle.retry()
        await lm.until_asked(5)
        reader = asyncio.create_task(events_of(handle))
        await events_until(handle, "step", 4)
        lm.release.set()
        assert (await reader)[-1].data["status"] == "ok"


async def test_a_run_that_goes_on_in_the_next_process_has_one_log(tmp_path: Path) -> None:
    lm = Asked(held=lambda text: text.startswith("n2"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await lm.until_asked(3)
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        handle = await runtime.find_run(handle.id)
        reader = asyncio.create_task(events_of(handle))
        await runtime.start(Chain())
        await outcome_of(handle)
        events = await reader
        assert [event.id for event in events] == list(range(1, len(events) + 1))
        done = [event.data["step"] for event in events if event.kind == "step" and "outputs" in event.data]
        assert done == [f"steps[{number}]" for number in range(4)]


async def test_a_run_that_another_process_executes_can_be_read(tmp_path: Path) -> None:
    lm = Asked(held=lambda text: text.startswith("n2"))
    async with (
        Runtime(lm=lm, store=tmp_path / "s.db") as owner,
        Runtime(lm=Asked(), store=tmp_path / "s.db") as other,
    ):
        await owner.start(Chain())
        handle = await owner.submit("Chain", {"n0": "x"})
        elsewhere = await other.find_run(handle.id)
        reader = asyncio.create_task(events_of(elsewhere))
        await lm.until_asked(3)
        lm.release.set()
        assert (await outcome_of(elsewhere)).answer == "x1234"
        assert await reader == await events_of(handle)


async def test_a_reader_reads_on_when_the_keeper_of_the_runs_has_crashed(tmp_path: Path) -> None:
    lm = Asked(held=lambda text: text.startswith("n2"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        reader = asyncio.create_task(events_of(handle))
        await lm.until_asked(3)
        runtime.actor("root/runs").kill(ValueError("a fault"))
        await lm.until_asked()
        lm.release.set()
        await outcome_of(handle)
        events = await reader
        assert [event.id for event in events] == list(range(1, len(events) + 1))
        assert kinds(events)[-1] == "done"


@pytest.mark.parametrize("durable", [True, False])
async def test_a_reader_is_told_when_the_runtime_closes(tmp_path: Path, durable: bool) -> None:
    lm = Asked(held=lambda _: True)
    async with Runtime(lm=lm, store=tmp_path / "s.db" if durable else None) as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"}, durable=durable)
        reader = asyncio.create_task(events_of(handle))
        await lm.until_asked()
        await events_until(handle, "accepted")
    with pytest.raises(RuntimeClosed):
        await reader


# --- bounds ---


async def test_events_that_compaction_took_away_are_told_as_gaps(tmp_path: Path) -> None:
    async with ScriptedEndpoint(reply_to) as server:
        async with runtime_for(server, tmp_path / "s.db") as runtime:
            await runtime.start(Two())
            handle = await runtime.submit("Two", {"text": "x"})
            await outcome_of(handle)
            whole = await events_of(handle)
        await compact(tmp_path / "s.db")
        async with runtime_for(server, tmp_path / "s.db") as runtime:
            await runtime.start(Two())
            handle = await runtime.find_run(handle.id)
            left = await events_of(handle)
            told: list[int] = []
            for event in left:
                told += range(event.data["from"], event.data["to"] + 1) if event.kind == "gap" else [event.id]
            assert told == [event.id for event in whole]
            assert [event for event in left if event.kind != "gap"] == [
                event for event in whole if event.kind not in CALLS
            ]
            assert kinds(await events_of(handle, 1))[0] == "gap"
            assert [step.step for step in await handle.steps()] == ["first", "second"]
            assert (await handle.replay()).answer == "amx"


async def compact(path: Path) -> None:
    store = await Store.open(path)
    try:
        old = OldRuns(store)
        for run in await old.uncompacted(FAR_AHEAD):
            await old.compact(run, FAR_AHEAD)
    finally:
        await store.close()


async def test_a_run_without_a_store_remembers_only_its_latest_events() -> None:
    text = " ".join(["word"] * (KEPT + 500))
    async with Runtime(lm=Asked(lambda _: f'{{"middle": "{text}"}}'), store=None) as runtime:
        ask = await runtime.start(rp.Predict("text -> middle"))
        handle = await runtime.submit(ask, {"text": "x"}, stream=True, durable=False)
        await outcome_of(handle)
        events = await events_of(handle)
        assert events[0].kind == "gap"
        assert (events[0].data["from"], events[0].data["to"]) == (1, events[1].id - 1)
        assert len(events) == KEPT + 1
        assert kinds(events)[-2:] == ["step", "done"]
        assert await events_of(handle, events[-2].id) == events[-1:]


async def test_a_run_that_is_not_there_has_no_events(tmp_path: Path) -> None:
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        with pytest.raises(RunUnknown):
            await anext(runtime.runs.events("nope", 0))
