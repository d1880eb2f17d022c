"""The journal in either kind of database."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from repertory.clock import SystemClock
from repertory.errors import InputError
from repertory.modules import Prediction
from repertory.providers.messages import Usage
from repertory.runtime.journal import Journal, RecordedStep, StepKey
from repertory.store import Store
from tests.store.conftest import location, postgres, sqlite_file

__all__ = ["location", "postgres", "sqlite_file"]

KEY = StepKey("qa", "hash", 0)


@pytest.fixture
async def journal(location: str) -> AsyncIterator[Journal]:
    store = await Store.open(location)
    yield Journal(store, SystemClock())
    await store.close()


def prediction(**outputs: str) -> Prediction:
    return Prediction(outputs, usage=Usage(5, 7), lm_calls=1, parameters_version=3)


async def test_a_run_is_found_again_under_its_key(journal: Journal) -> None:
    ids = await asyncio.gather(*(journal.accept("qa", f"k{n}", "print", {"n": n}) for n in range(3)))
    assert await journal.accept("qa", "k1", "another", {"n": 99}) == ids[1]
    found = await journal.find("qa", ["k0", "k1", "k9"])
    assert sorted(found) == ["k0", "k1"]
    assert (found["k1"].fingerprint, found["k1"].inputs, found["k1"].status) == ("print", '{"n":1}', "accepted")


async def test_a_step_is_recorded_once(journal: Journal) -> None:
    run = await journal.accept("qa", "k", "print", {})
    for answer in ("first", "second"):
        await journal.record_step(run, KEY, {"answer": answer}, prediction(answer=answer), 0.5)
    assert await journal.steps_of(run) == {KEY: RecordedStep({"answer": "first"}, 3, Usage(5, 7))}


async def test_a_failed_run_may_end_well_and_one_that_ended_well_stays_so(journal: Journal) -> None:
    run = await journal.accept("qa", "k", "print", {})
    await journal.fail(run, InputError("question", "is missing"), Usage(1, 2), 1, 0.25)
    failed = (await journal.find("qa", ["k"]))["k"]
    assert (failed.status, failed.outputs, failed.seconds) == ("failed", None, 0.25)
    await journal.finish(run, prediction(answer="ü"), {"answer": "ü"}, 1.5)
    await journal.fail(run, InputError("question", "is missing"), Usage(1, 2), 1, 0.25)
    done = (await journal.find("qa", ["k"]))["k"]
    assert (done.status, done.outputs, done.usage, done.lm_calls) == ("ok", {"answer": "ü"}, Usage(5, 7), 1)


async def test_an_error_may_say_anything(journal: Journal) -> None:
    run = await journal.accept("qa", "k", "print", {})
    await journal.fail(run, InputError("question", "is \0 and \ud800"), Usage(1, 2), 1, 0.25)
    assert (await journal.find("qa", ["k"]))["k"].status == "failed"
