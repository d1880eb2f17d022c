"""Submitted runs beyond those that may be under way: they wait on disk, in order, and none is lost."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists, sampled_from

import repertory as rp
from repertory.clock import SystemClock
from repertory.errors import LMServerError, Overloaded, RunCancelled, RuntimeClosed
from repertory.providers.messages import LMRequest, LMResponse, Terms
from repertory.runtime.config import make_config
from repertory.runtime.journal import Journal
from repertory.runtime.memory_levels import Reading
from repertory.runtime.run_handle import RunHandle
from repertory.runtime.run_ids import run_id
from repertory.runtime.runtime import Runtime
from repertory.runtime.waiting_runs import RunPlaces
from repertory.store import Owners, Store
from repertory.store.run_rows import NewRun
from repertory.testing import Answer, ScriptedLM

PATIENCE = 30  # seconds after which a test that hangs is told so


class Gated(ScriptedLM):
    """A model that answers when it is let, and tells what it was asked, in order."""

    def __init__(self, answer: Callable[[str], Answer] = lambda text: f'{{"b": "{text}"}}') -> None:
        super().__init__(lambda request: answer(asked(request)))
        self.open = asyncio.Event()
        self.questions: list[str] = []
        self.under_way = self.most = 0
        self._arrived = asyncio.Condition()

    async def complete(self, request: LMRequest) -> LMResponse:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            async with self._arrived:
                self.questions.append(asked(request))
                self._arrived.notify_all()
            await self.open.wait()
            return await super().complete(request)
        finally:
            self.under_way -= 1

    async def until_asked(self, times: int) -> None:
        async with asyncio.timeout(PATIENCE), self._arrived:
            await self._arrived.wait_for(lambda: len(self.questions) >= times)


def asked(request: LMRequest) -> str:
    return request.messages[-1].text.removeprefix("a: ")


def runtime_with(lm: Any, store: Path | None, runs: int) -> Runtime:
    config = make_config("the test", {"scheduler": {"runs": runs}, "memory": {"guard": False}})
    return Runtime(config, lm=lm, store=store)


async def outcome_of(handle: RunHandle) -> Any:
    return (await handle.result(timeout=PATIENCE)).b


async def test_what_finds_no_place_waits_and_is_begun_by_priority_and_in_order(tmp_path: Path) -> None:
    lm = Gated()
    async with runtime_with(lm, tmp_path / "s.db", 1) as runtime:
        await runtime.start(rp.Predict("a -> b"), name="p")
        handles = [await runtime.submit("p", {"a": "first"})]
        await lm.until_asked(1)
        for priority in ("batch", "normal", "interactive"):
            for number in (1, 2):
                terms = Terms(priority=priority)
                handles.append(await runtime.submit("p", {"a": f"{priority} {number}"}, terms=terms))
        assert [(await handle.status()).status for handle in handles] == ["accepted"] * 7
        assert len(runtime.runs.live) == 1
        lm.open.set()
        for handle in handles:
            await outcome_of(handle)
        assert lm.questions == [
            *("first", "interactive 1", "interactive 2", "normal 1", "normal 2", "batch 1", "batch 2")
        ]


async def test_however_many_are_submitted_few_are_under_way_and_all_are_done(tmp_path: Path) -> None:
    lm = Gated()
    async with runtime_with(lm, tmp_path / "s.db", 8) as runtime:
        await runtime.start(rp.Predict("a -> b"), name="p")
        handles = await asyncio.gather(*(runtime.submit("p", {"a": str(n)}) for n in range(200)))
        assert len(runtime.runs.live) == 8
        waiting = asyncio.gather(*map(outcome_of, handles))
        lm.open.set()
        assert await waiting == [str(n) for n in range(200)]
        assert lm.most <= 8
        assert sorted(lm.questions, key=int) == [str(n) for n in range(200)]


async def test_those_that_wait_when_the_runtime_closes_are_begun_by_the_next(tmp_path: Path) -> None:
    lm = Gated()
    async with runtime_with(lm, tmp_path / "s.db", 2) as runtime:
        await runtime.start(rp.Predict("a -> b"), name="p")
        handles = [await runtime.submit("p", {"a": str(n)}) for n in range(10)]
        waiting = asyncio.create_task(handles[9].result())
        await lm.until_asked(2)
    with pytest.raises(RuntimeClosed):
        await waiting
    lm = Gated()
    lm.open.set()
    async with runtime_with(lm, tmp_path / "s.db", 2) as runtime:
        await runtime.start(rp.Predict("a -> b"), name="p")
        again = [await runtime.find_run(handle.id) for handle in handles]
        assert [await outcome_of(handle) for handle in again] == [str(n) for n in range(10)]
        assert lm.most <= 2


async def test_one_that_waits_can_be_cancelled_and_asks_nothing(tmp_path: Path) -> None:
    lm = Gated()
    async with runtime_with(lm, tmp_path / "s.db", 1) as runtime:
        await runtime.start(rp.Predict("a -> b"), name="p")
        first = await runtime.submit("p", {"a": "first"})
        second = await runtime.submit("p", {"a": "second"})
        waiting = asyncio.create_task(second.result())
        await lm.until_asked(1)
        await second.cancel()
        with pytest.raises(RunCancelled):
            await asyncio.wait_for(waiting, PATIENCE)
        assert (await second.status()).status == "cancelled"
        assert [event.kind async for event in second.events()] == ["accepted", "done"]
        lm.open.set()
        await outcome_of(first)
        assert lm.questions == ["first"]


async def test_one_that_waited_has_its_trace_and_streams_as_it_was_asked_to(tmp_path: Path) -> None:
    lm = Gated()
    async with runtime_with(lm, tmp_path / "s.db", 1) as runtime:
        await runtime.start(rp.Predict("a -> b"), name="p")
        first = await runtime.submit("p", {"a": "first"})
        second = await runtime.submit("p", {"a": "second"}, stream=True, trace="00-abc-def-01")
        lm.open.set()
        for handle in (first, second):
            await outcome_of(handle)
        accepted, *others = [event async for event in second.events()]
        assert accepted.data == {"trace": "00-abc-def-01", "streams": True}
        assert "delta" in [event.kind for event in others]


async def test_a_reader_that_comes_early_follows_one_that_waits(tmp_path: Path) -> None:
    lm = Gated()
    async with runtime_with(lm, tmp_path / "s.db", 1) as runtime:
        await runtime.start(rp.Predict("a -> b"), name="p")
        await runtime.submit("p", {"a": "first"})
        second = await runtime.submit("p", {"a": "second"})

        async def kinds() -> list[str]:
            return [event.kind async for event in second.events()]

        reading = asyncio.create_task(kinds())
        await asyncio.sleep(0)
        lm.open.set()
        read = await asyncio.wait_for(reading, PATIENCE)
        assert (read[0], read[-1]) == ("accepted", "done")


async def test_one_that_is_tried_again_waits_for_a_place_and_then_asks_what_failed(tmp_path: Path) -> None:
    answers: Iterator[Answer] = iter([LMServerError("no"), '{"b": "held"}', '{"b": "good"}'])
    lm = Gated(lambda _: next(answers))
    lm.open.set()
    async with runtime_with(lm, tmp_path / "s.db", 1) as runtime:
        await runtime.start(rp.Predict("a -> b"), name="p")
        failed = await runtime.submit("p", {"a": "failed"})
        with pytest.raises(LMServerError):
            await outcome_of(failed)
        lm.open.clear()
        held = await runtime.submit("p", {"a": "held"})
        await lm.until_asked(2)
        await failed.retry()
        assert (await failed.status()).status == "accepted"
        lm.open.set()
        assert await outcome_of(held) == "held"
        assert await outcome_of(failed) == "good"
        assert lm.questions == ["failed", "held", "failed"]


async def test_the_runs_of_a_process_that_died_wait_again(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "s.db")
    owners = await Owners.open(store, SystemClock())
    lm = Gated()
    lm.open.set()
    async with runtime_with(lm, tmp_path / "s.db", 1) as runtime:
        deployment = await runtime.start(rp.Predict("a -> b"), name="p")
        dead = Journal(store, SystemClock(), owners)
        for number in range(7):
            about = (deployment.fingerprint, deployment.code, f'{{"a":"{number}"}}', dead.owner, True)
            run = NewRun(run_id("p", str(number)), "p", str(number), *about, None, None, None, None, float(number))
            await dead.accept(run).written()
        await owners.close()
        await runtime.runs.recover("p")
        handles = [await runtime.find_run(run_id("p", str(number))) for number in range(7)]
        assert [await outcome_of(handle) for handle in handles] == [str(number) for number in range(7)]
        assert lm.questions == [str(number) for number in range(7)]
    await store.close()


async def test_where_memory_is_short_batch_work_goes_on_waiting(tmp_path: Path) -> None:
    lm = Gated()
    async with runtime_with(lm, tmp_path / "s.db", 1) as runtime:
        await runtime.start(rp.Predict("a -> b"), name="p")
        handles = [await runtime.submit("p", {"a": "first"})]
        for priority in ("batch", "normal"):
            terms = Terms(priority=priority)
            handles.append(await runtime.submit("p", {"a": priority}, terms=terms))
        runtime.memory.take(Reading(85, 100))
        lm.open.set()
        await outcome_of(handles[2])
        assert lm.questions == ["first", "normal"]
        assert (await handles[1].status()).status == "accepted"


async def test_without_a_store_there_is_nowhere_to_wait() -> None:
    lm = Gated()
    async with runtime_with(lm, None, 2) as runtime:
        await runtime.start(rp.Predict("a -> b"), name="p")
        handles = [await runtime.submit("p", {"a": str(n)}, durable=False) for n in range(2)]
        with pytest.raises(Overloaded, match="2 runs are under way"):
            await runtime.submit("p", {"a": "2"}, durable=False)
        lm.open.set()
        for handle in handles:
            await outcome_of(handle)
        assert await outcome_of(await runtime.submit("p", {"a": "2"}, durable=False)) == "2"


async def test_whoever_is_cancelled_while_submitting_takes_no_place_with_them(tmp_path: Path) -> None:
    lm = Gated()
    lm.open.set()
    async with runtime_with(lm, tmp_path / "s.db", 1) as runtime:
        await runtime.start(rp.Predict("a -> b"), name="p")
        for number in range(5):
            submitting = asyncio.create_task(runtime.submit("p", {"a": str(number)}, key=str(number)))
            await asyncio.sleep(0)
            submitting.cancel()
        handle = await runtime.submit("p", {"a": "last"})
        assert await outcome_of(handle) == "last"


@given(
    most=integers(1, 4), moves=lists(sampled_from(["take", "wait", "for two", "leave", "none wait"]), max_size=40)
)
def test_no_more_places_are_taken_than_there_are_and_nobody_passes_those_who_wait(
    most: int, moves: list[str]
) -> None:
    places, taken = RunPlaces(most), 0
    for move in moves:
        match move:
            case "take":
                got = places.take()
                assert got == (taken < most and not places.some_wait)
                taken += got
            case "for two":
                taken += places.take_for(2)
            case "leave" if taken:
                places.leave()
                taken -= 1
            case "wait":
                places.some_wait = True
            case "none wait":
                places.some_wait = False
        assert 0 <= taken <= most
        assert places.free == most - taken
