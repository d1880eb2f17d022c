"""Random programs, random failures, and a runtime that ends at random: what comes of it, against a naive model.

A program is a graph of up to eight steps, each of which asks with the answers of some before it. The model is the
same graph, evaluated by hand.
"""

import asyncio
import json
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import DrawFn, booleans, composite, integers, lists, sampled_from, sets

import repertory as rp
from repertory.errors import LMRequestRejected, RepertoryError
from repertory.providers.messages import LMRequest, LMResponse
from repertory.runtime.runtime import Runtime
from repertory.testing import Answer, ScriptedLM
from tests.runtime.submitted import PATIENCE, as_killed_now, question

MOST_STEPS = 8


class Dag(rp.Module):
    """Step ``n`` asks with the run's text and the answers of the steps ``parents[n]``, as they come."""

    def __init__(self, parents: Sequence[Sequence[int]]) -> None:
        self.parents = [tuple(each) for each in parents]
        self.steps = [rp.Predict("text, given: list[str] -> answer", corrections=0) for _ in parents]

    async def forward(self, text: str) -> rp.Prediction:
        pending: list[rp.Pending] = []
        for step, parents in zip(self.steps, self.parents, strict=True):
            given = [pending[parent].answer for parent in parents]
            pending.append(step(text=f"{text}{len(pending)}", given=given))
        return rp.Prediction(answers=[await each.answer for each in pending])


def evaluated(parents: Sequence[Sequence[int]], text: str) -> list[str]:
    """What `Dag` answers."""
    answers: list[str] = []
    for number, of_step in enumerate(parents):
        answers.append(said(f"{text}{number}", [answers[parent] for parent in of_step]))
    return answers


def said(text: str, given: Sequence[str]) -> str:
    return f"{text}({','.join(given)})"


@dataclass
class Moody:
    """Answers each question right, but for those that it refuses first, and counts what it answered.

    Attributes:
        refusals: How often the question about each text is refused before it is answered.
        recorded: The texts whose answers were on disk when the process began: nobody may ask for them again.
    """

    refusals: Counter[str]
    recorded: frozenset[str] = frozenset()

    def __call__(self, request: LMRequest) -> Answer:
        text, given = _inputs(question(request))
        assert text not in self.recorded, f"{text} was asked again"
        if self.refusals[text] > 0:
            self.refusals[text] -= 1
            return LMRequestRejected("not now", endpoint="e")
        return json.dumps({"answer": said(text, json.loads(given))})


class Ending(ScriptedLM):
    """A model that answers so many questions, and then none: the process is about to end."""

    def __init__(self, moody: Moody, answers: int) -> None:
        super().__init__(moody)
        self._left = answers
        self.over = asyncio.Event()

    async def complete(self, request: LMRequest) -> LMResponse:
        if self._left <= 0:
            self.over.set()
            await asyncio.Event().wait()
        self._left -= 1
        return await super().complete(request)


def _inputs(text: str) -> tuple[str, str]:
    """The two inputs of a question."""
    first, _, given = text.partition("given: ")
    return first.removeprefix("text: ").strip(), given.strip()


@dataclass(frozen=True)
class Life:
    """One process: how many answers it gets, and whether it is killed then, or closed."""

    answers: int
    killed: bool


@dataclass(frozen=True)
class Story:
    parents: tuple[tuple[int, ...], ...]
    refusals: tuple[int, ...]  # of each step
    lives: tuple[Life, ...]


@composite
def stories(draw: DrawFn, most_steps: int = MOST_STEPS, most_lives: int = 4) -> Story:
    steps = draw(integers(1, most_steps))
    parents = tuple(
        tuple(sorted(draw(sets(integers(0, number - 1), max_size=3)))) if number else () for number in range(steps)
    )
    refusals = tuple(draw(sampled_from([0, 0, 0, 0, 1, 2])) for _ in range(steps))
    lives = draw(lists(integers(0, steps), max_size=most_lives))
    return Story(parents, refusals, tuple(Life(answers, draw(booleans())) for answers in lives))


async def lived(story: Story, folder: Path, check: Callable[[Runtime, str], Awaitable[None]]) -> None:
    """One submitted run through all the lives of ``story``, retried until it ends well."""
    moody = Moody(Counter({f"x{number}": count for number, count in enumerate(story.refusals)}))
    store, id = folder / "0.db", ""
    for number, life in enumerate(story.lives):
        lm = Ending(moody, life.answers)
        moody.recorded = recorded_in(store)
        async with Runtime(lm=lm, store=store) as runtime:
            await runtime.start(Dag(story.parents))
            id = (await runtime.submit("Dag", {"text": "x"}, key="k")).id
            await _ended_or_over(runtime, id, lm)
            await _retried(runtime, id, lm)
            if life.killed:
                as_killed_now(store, folder / f"{number + 1}.db")
        store = folder / f"{number + 1}.db" if life.killed else store
    moody.recorded = recorded_in(store)
    async with Runtime(lm=ScriptedLM(moody), store=store) as runtime:
        await runtime.start(Dag(story.parents))
        handle = await runtime.submit("Dag", {"text": "x"}, key="k")
        outcome = await _ended(runtime, handle.id)
        while isinstance(outcome, RepertoryError):
            assert isinstance(outcome, LMRequestRejected)
            await handle.retry()
            outcome = await _ended(runtime, handle.id)
        assert outcome.answers == evaluated(story.parents, "x")
        await check(runtime, handle.id)


def recorded_in(store: Path) -> frozenset[str]:
    """The texts of the steps that have their outputs in a store."""
    if not store.exists():
        return frozenset()
    with closing(sqlite3.connect(store)) as connection:
        steps = [
            json.loads(data) for (data,) in connection.execute("SELECT data FROM run_events WHERE kind = 'step'")
        ]
    return frozenset(step["inputs"]["text"] for step in steps if "outputs" in step)


async def _ended(runtime: Runtime, id: str) -> rp.Prediction | RepertoryError:
    async with asyncio.timeout(PATIENCE):
        try:
            return await (await runtime.find_run(id)).result()
        except RepertoryError as error:
            return error


async def _ended_or_over(runtime: Runtime, id: str, lm: Ending) -> bool:
    """Wait until the run has ended, or gets no answers any more; return whether it has ended."""
    ended, over = asyncio.create_task(_ended(runtime, id)), asyncio.create_task(lm.over.wait())
    await asyncio.wait({ended, over}, return_when=asyncio.FIRST_COMPLETED)
    done = ended.done()
    for task in (ended, over):
        task.cancel()
    await asyncio.wait({ended, over})
    return done


async def _retried(runtime: Runtime, id: str, lm: Ending) -> None:
    """Retry a run that has failed, once."""
    handle = await runtime.find_run(id)
    if (await handle.status()).status == "failed":
        await handle.retry()
        await _ended_or_over(runtime, id, lm)


async def check_log(runtime: Runtime, id: str) -> None:
    handle = await runtime.find_run(id)
    events = [event async for event in handle.events()]
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    outcomes = Counter(event.data["step"] for event in events if "outputs" in event.data)
    assert set(outcomes.values()) == {1}  # each step has one recorded outcome
    assert (events[-1].kind, events[-1].data["status"]) == ("done", "ok")
    assert [event.data["status"] for event in events if event.kind == "done"].count("ok") == 1
    assert (await handle.replay()).answers == (await handle.result()).answers


def tell(story: Story) -> None:
    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            await lived(story, Path(folder), check_log)

    asyncio.run(main())


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(stories())
def test_a_run_comes_to_what_its_program_means_through_failures_and_ends(story: Story) -> None:
    tell(story)


@pytest.mark.slow
@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(stories(most_lives=8))
def test_soak(story: Story) -> None:
    tell(story)
