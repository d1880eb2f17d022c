"""The versions of a predictor's parameters: a history that is kept, bounded, and can be gone back to."""

import asyncio
from pathlib import Path

import pytest

import repertory as rp
from repertory.errors import ProgramError
from repertory.events import ParametersChanged
from repertory.runtime.predictor import VERSIONS_KEPT
from repertory.runtime.runtime import Runtime
from tests.runtime.programs import Collected, Two
from tests.runtime.submitted import Asked, Chain, outcome_of


def hot(temperature: float) -> rp.Parameters:
    return rp.Parameters(temperature=temperature)


async def test_every_change_is_a_version_and_can_be_looked_up(tmp_path: Path) -> None:
    for life in range(2):
        async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
            two = await runtime.start(Two())
            if not life:
                assert two.parameter_versions("first") == {1: rp.Parameters()}
                assert [await two.update_parameters("first", hot(n / 10)) for n in (1, 2)] == [2, 3]
            assert two.parameter_versions("first") == {1: rp.Parameters(), 2: hot(0.1), 3: hot(0.2)}
            assert list(two.parameter_versions("first"))[-1] == 3  # the one that holds
            assert two.parameter_versions("second") == {1: rp.Parameters()}
            assert two.parameters()["first"] == hot(0.2)


async def test_going_back_is_a_new_version(tmp_path: Path) -> None:
    told = Collected()
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db", hooks=[told]) as runtime:
        two = await runtime.start(Two())
        await two.update_parameters("first", hot(0.1))
        await two.update_parameters("first", hot(0.2))
        assert await two.roll_back_parameters("first", 2) == 4
        assert two.parameters()["first"] == hot(0.1)
        assert two.parameter_versions("first") == {1: rp.Parameters(), 2: hot(0.1), 3: hot(0.2), 4: hot(0.1)}
        await two(text="x")
        versions = [event.version for event in told.of(ParametersChanged) if "/first/" in event.path]
        assert versions == [1, 2, 3, 4]
    assert lm.requests[0].temperature == 0.1
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        assert two.parameters()["first"] == hot(0.1)
        assert await two.roll_back_parameters("first", 3) == 5


async def test_the_history_is_bounded_and_what_is_gone_is_refused(tmp_path: Path) -> None:
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        for number in range(VERSIONS_KEPT + 9):
            await two.update_parameters("first", hot(number / 100))
        kept = two.parameter_versions("first")
        latest = VERSIONS_KEPT + 10
        assert list(kept) == list(range(latest - VERSIONS_KEPT, latest + 1))
        for version in (0, 1, latest - VERSIONS_KEPT - 1, latest + 1):
            with pytest.raises(ProgramError, match=rf"(?s)no version {version} .*Kept are: 10, 11"):
                await two.roll_back_parameters("first", version)
        assert two.parameter_versions("first") == kept
        assert await two.roll_back_parameters("first", latest - VERSIONS_KEPT) == latest + 1


async def test_a_predictor_that_is_not_there_has_no_versions() -> None:
    async with Runtime(lm=Asked(), store=None) as runtime:
        two = await runtime.start(Two())
        with pytest.raises(ProgramError, match=r"(?s)no predictor 'third'.*first, second"):
            two.parameter_versions("third")
        with pytest.raises(ProgramError, match=r"(?s)no predictor 'third'.*first, second"):
            await two.roll_back_parameters("third", 1)


async def test_going_back_to_a_model_that_is_gone_is_refused(tmp_path: Path) -> None:
    lm = Asked()
    async with Runtime(lm={"default": lm, "big": lm}, store=tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        await two.update_parameters("first", rp.Parameters(lm="big"))
        await two.update_parameters("first", hot(0.1))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        with pytest.raises(ProgramError, match="first wants the language model 'big'"):
            await two.roll_back_parameters("first", 2)
        assert (await two(text="x")).answer == "xma"


async def test_each_step_tells_with_which_version_it_was_done(tmp_path: Path) -> None:
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        await two.update_parameters("first", hot(0.1))
        handle = await runtime.submit("Two", {"text": "x"})
        await outcome_of(handle)
        await two.update_parameters("second", hot(0.2))
        again = await runtime.submit("Two", {"text": "x"})
        await outcome_of(again)
        assert [step.version for step in await handle.steps()] == [2, 1]
        assert [step.version for step in await again.steps()] == [2, 2]


async def test_a_step_goes_on_with_what_it_began_with_and_the_next_takes_the_new(tmp_path: Path) -> None:
    lm = Asked(held=lambda text: text.startswith("n1"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        chain = await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await lm.until_asked(2)
        for number in range(4):
            await chain.update_parameters(f"steps[{number}]", hot(0.5))
        lm.release.set()
        await outcome_of(handle)
        assert [step.version for step in await handle.steps()] == [1, 1, 2, 2]
    assert [request.temperature for request in lm.requests] == [None, None, 0.5, 0.5]


async def test_a_run_that_goes_on_reads_the_version_that_its_recorded_steps_used(tmp_path: Path) -> None:
    lm = Asked(held=lambda text: text.startswith("n2"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await lm.until_asked(3)
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        chain = await runtime.start(Chain(), name="other")
        await chain.update_parameters("steps[0]", hot(0.5))
        await runtime.start(Chain())
        handle = await runtime.find_run(handle.id)
        await outcome_of(handle)
        assert [step.version for step in await handle.steps() if step.error is None] == [1, 1, 1, 1]


async def test_predictions_of_one_moment_share_a_snapshot(tmp_path: Path) -> None:
    """Changes while predictions are made never mix two versions in one."""
    lm = Asked(lambda request: f'{{"middle": "{request.temperature} {request.max_tokens}"}}')
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        ask = await runtime.start(rp.Predict("text -> middle"), replicas=3)

        async def change() -> None:
            for number in range(1, 20):
                await ask.update_parameters("self", rp.Parameters(temperature=number / 100, max_tokens=number))

        async def predict() -> list[rp.Prediction]:
            return [await ask(text="x") for _ in range(50)]

        changing = asyncio.create_task(change())
        made = await asyncio.gather(*(predict() for _ in range(3)))
        await changing
        for predictions in made:
            seen = [prediction.parameters_version for prediction in predictions]
            assert seen == sorted(seen)
            for prediction in predictions:
                number = prediction.parameters_version - 1
                assert prediction.middle == (f"{number / 100} {number}" if number else "None None")


async def test_processes_that_start_a_new_program_at_once_agree_on_its_first_version(tmp_path: Path) -> None:
    async with (
        Runtime(lm=Asked(), store=tmp_path / "s.db") as here,
        Runtime(lm=Asked(), store=tmp_path / "s.db") as there,
    ):
        for number in range(10):
            name = f"program-{number}"
            ours, theirs = await asyncio.gather(here.start(Two(), name=name), there.start(Two(), name=name))
            for deployment in (ours, theirs):
                assert deployment.parameter_versions("first") == {1: rp.Parameters()}


async def test_a_change_comes_after_one_that_another_process_has_made(tmp_path: Path) -> None:
    async with (
        Runtime(lm=Asked(), store=tmp_path / "s.db") as here,
        Runtime(lm=Asked(), store=tmp_path / "s.db") as there,
    ):
        ours, theirs = await here.start(Two()), await there.start(Two())
        assert await ours.update_parameters("first", hot(0.1)) == 2
        assert await theirs.update_parameters("first", hot(0.2)) == 3
        assert theirs.parameter_versions("first") == {1: rp.Parameters(), 2: hot(0.1), 3: hot(0.2)}
        assert await ours.roll_back_parameters("first", 2) == 4
        assert ours.parameters()["first"] == hot(0.1)
