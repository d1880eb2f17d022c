"""Submitted runs: accepted when they are on disk, one for each key, and what their handles tell."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import repertory as rp
from repertory.errors import (
    ConfigError,
    InputError,
    LMRequestRejected,
    ProgramError,
    RunCancelled,
    RuntimeClosed,
    RunUnknown,
)
from repertory.runtime.runtime import Runtime
from repertory.testing import FakeClock
from tests.runtime.programs import Two
from tests.runtime.submitted import Asked, failure_of, fields_asked, held, outcome_of

SUBMITTING = """
import asyncio, sys
import repertory as rp
from tests.runtime.programs import Two
from tests.runtime.submitted import Asked

async def main():
    lm = Asked()
    async with rp.Runtime(lm=lm, store=sys.argv[1]) as runtime:
        await runtime.start(Two())
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        handle = await runtime.submit("Two", {"text": "x"}, key="k")
        print(handle.id, (await handle.result()).answer, len(lm.questions), flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


async def test_a_handle_comes_only_after_the_run_is_on_disk(tmp_path: Path) -> None:
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        with held(tmp_path / "s.db"):
            submitting = asyncio.create_task(runtime.submit("Two", {"text": "x"}))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not submitting.done()
            assert lm.questions == []
        handle = await submitting
        assert handle.durable
        assert (await outcome_of(handle)).answer == "xma"


async def test_who_is_cancelled_while_submitting_loses_the_handle_and_not_the_run(tmp_path: Path) -> None:
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        with held(tmp_path / "s.db"):
            submitting = asyncio.create_task(runtime.submit("Two", {"text": "x"}, key="k"))
            await asyncio.sleep(0)
            submitting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await submitting
        handle = await runtime.submit("Two", {"text": "x"}, key="k")
        assert (await outcome_of(handle)).answer == "xma"


async def test_the_same_key_is_the_same_run(tmp_path: Path) -> None:
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        first = await runtime.submit("Two", {"text": "x"}, key="k")
        await outcome_of(first)
        again = await runtime.submit("Two", {"text": "x"}, key="k")
        assert (again.id, (await outcome_of(again)).answer) == (first.id, "xma")
        at_once = await asyncio.gather(*(runtime.submit("Two", {"text": "y"}, key="l") for _ in range(8)))
        assert [(await outcome_of(handle)).answer for handle in at_once] == ["yma"] * 8
        assert len({handle.id for handle in at_once}) == 1
        other = await runtime.submit("Two", {"text": "x"})
        assert other.id != first.id
        await outcome_of(other)
    assert fields_asked(lm) == ["text", "middle"] * 3


def test_the_same_key_in_two_processes_at_once_is_one_run(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SUBMITTING, str(tmp_path / "s.db")]
    with subprocess.Popen(command, text=True, stdin=-1, stdout=-1) as one:
        assert _said(one) == "ready"  # of two that start a program which is new to the store one is refused
        with subprocess.Popen(command, text=True, stdin=-1, stdout=-1) as other:
            assert _said(other) == "ready"
            for process in (one, other):
                _say(process)
            (one_id, *one_told), (other_id, *other_told) = _said(one).split(), _said(other).split()
            for process in (one, other):
                _say(process)
    assert (one_id, one_told[0]) == (other_id, other_told[0])
    assert one_told[0] == "xma"
    assert int(one_told[1]) + int(other_told[1]) == 2


async def test_a_key_stands_for_one_set_of_inputs(tmp_path: Path) -> None:
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"}, key="k")
        with pytest.raises(InputError, match="the key 'k' stands for a run with other inputs"):
            await runtime.submit("Two", {"text": "y"}, key="k")
        assert (await outcome_of(handle)).answer == "xma"


async def test_the_terms_of_who_came_first_hold(tmp_path: Path) -> None:
    lm = Asked(held=lambda _: True)
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        first = await runtime.submit("Two", {"text": "x"}, key="k", terms=rp.Terms(caller="one"))
        again = await runtime.submit("Two", {"text": "x"}, key="k", terms=rp.Terms(caller="other"))
        lm.release.set()
        assert again.id == first.id
        await outcome_of(again)
    assert [request.terms.caller for request in lm.requests] == ["one", "one"]


async def test_a_key_stands_for_a_run_that_failed_too(tmp_path: Path) -> None:
    lm = Asked(lambda _: LMRequestRejected("no", endpoint="e"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        await failure_of(await runtime.submit("Two", {"text": "x"}, key="k"))
        again = await runtime.submit("Two", {"text": "x"}, key="k")
        assert isinstance(await failure_of(again), LMRequestRejected)
        assert (await again.status()).status == "failed"
    assert len(lm.questions) == 1


async def test_a_key_stands_for_a_run_that_was_cancelled_too(tmp_path: Path) -> None:
    lm = Asked(held=lambda _: True)
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"}, key="k")
        await lm.until_asked()
        await handle.cancel()
        assert isinstance(await failure_of(handle), RunCancelled)
        again = await runtime.submit("Two", {"text": "x"}, key="k")
        assert isinstance(await failure_of(again), RunCancelled)
        assert (await again.status()).status == "cancelled"
    assert len(lm.questions) == 1


async def test_a_call_and_a_submission_under_one_key_at_once_are_one_run(tmp_path: Path) -> None:
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        handle, run = await asyncio.gather(
            runtime.submit(two, {"text": "x"}, key="k"), two.run({"text": "x"}, key="k")
        )
        assert (await outcome_of(handle)).answer == run.prediction.answer == "xma"
        assert handle.id == run.id
    assert fields_asked(lm) == ["text", "middle"]


async def test_who_calls_under_the_key_of_a_submitted_run_gets_its_outcome(tmp_path: Path) -> None:
    lm = Asked(held=lambda _: True)
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        handle = await runtime.submit(two, {"text": "x"}, key="k")
        await lm.until_asked()
        call = asyncio.create_task(two.run({"text": "x"}, key="k"))
        lm.release.set()
        run = await call
        assert (run.id, run.prediction.answer) == (handle.id, "xma")
    assert fields_asked(lm) == ["text", "middle"]


async def test_a_key_stands_for_its_run_while_another_version_takes_over(tmp_path: Path) -> None:
    lm = Asked(held=lambda text: text.startswith("text"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"}, key="k")
        await lm.until_asked()
        release = await runtime.release(Two(instructions="Otherwise."), name="Two")
        await release.promote()
        again = await runtime.submit("Two", {"text": "x"}, key="k")
        assert again.id == handle.id
        lm.release.set()
        assert (await outcome_of(again)).answer == "xma"
    assert "Otherwise." not in lm.requests[1].messages[0].text  # it ends on the version it began with


async def test_nothing_runs_undurably_by_accident() -> None:
    async with Runtime(lm=Asked(), store=None) as runtime:
        await runtime.start(Two())
        with pytest.raises(ConfigError, match=r"(?s)keeps no journal.*durable=False"):
            await runtime.submit("Two", {"text": "x"})
        handle = await runtime.submit("Two", {"text": "x"}, durable=False)
        assert not handle.durable
        assert (await outcome_of(handle)).answer == "xma"
        status = await handle.status()
        assert (status.status, status.durable, status.outputs) == ("ok", False, {"answer": "xma"})


async def test_without_a_store_a_key_is_one_run_too() -> None:
    lm = Asked()
    async with Runtime(lm=lm, store=None) as runtime:
        await runtime.start(Two())
        handles = [await runtime.submit("Two", {"text": "x"}, key="k", durable=False) for _ in range(3)]
        assert len({handle.id for handle in handles}) == 1
        await outcome_of(handles[0])
        with pytest.raises(InputError, match="the key 'k' stands for a run with other inputs"):
            await runtime.submit("Two", {"text": "y"}, key="k", durable=False)
    assert fields_asked(lm) == ["text", "middle"]


async def test_wrong_inputs_and_unknown_programs_are_refused_before_anything_is_kept(tmp_path: Path) -> None:
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        for inputs in ({}, {"text": 3}, {"text": "x", "more": 1}):
            with pytest.raises(InputError):
                await runtime.submit("Two", inputs)
        with pytest.raises(ProgramError, match=r"(?s)no program 'Three' is running.*Two"):
            await runtime.submit("Three", {"text": "x"})
        assert await runtime.runs.latest(None, None, 10) == []
    with pytest.raises(RuntimeClosed):
        await runtime.submit("Two", {"text": "x"})
    assert lm.questions == []


async def test_a_run_tells_its_state_while_it_is_under_way_and_after(tmp_path: Path) -> None:
    lm = Asked(held=lambda text: text.startswith("middle"))
    clock = FakeClock()
    async with Runtime(lm=lm, store=tmp_path / "s.db", clock=clock) as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"}, key="k", tags={"team": "a"})
        await lm.until_asked(2)
        status = await handle.status()
        assert (status.status, status.ended, status.outputs, status.error) == ("accepted", False, None, None)
        assert (status.id, status.program, status.key, status.inputs) == (handle.id, "Two", "k", {"text": "x"})
        assert (status.accepted_at, status.finished_at, status.seconds) == (clock.time(), None, None)
        clock.advance(5)
        lm.release.set()
        await outcome_of(handle)
        status = await handle.status()
        assert (status.status, status.ended, status.outputs) == ("ok", True, {"answer": "xma"})
        assert (status.seconds, status.finished_at) == (5, clock.time())
        assert (status.tags, status.parent, status.durable) == ({"team": "a"}, None, True)
        assert (status.lm_calls, status.uncertain_calls) == (2, 0)
        assert status.usage.output_tokens == 4
        first, second = await handle.steps()
        assert (first.number, first.step, first.inputs, first.outputs) == (
            0,
            "first",
            {"text": "x"},
            {"middle": "xm"},
        )
        assert (second.number, second.step, second.outputs, second.error) == (1, "second", {"answer": "xma"}, None)
        assert (first.seconds, second.seconds, second.version, second.lm_calls) == (0, 5, 1, 1)


async def test_a_failed_run_tells_which_step_failed_and_why(tmp_path: Path) -> None:
    lm = Asked(lambda _: LMRequestRejected("the model refused", endpoint="e"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"})
        assert "the model refused" in str(await failure_of(handle))
        status = await handle.status()
        assert (status.status, status.outputs) == ("failed", None)
        assert status.error == ("lm_request_rejected", "the model refused")
        (step,) = await handle.steps()
        assert (step.step, step.outputs, step.error) == (
            "first",
            None,
            ("lm_request_rejected", "the model refused"),
        )


async def test_what_a_run_failed_with_is_the_same_error_whoever_asks_and_when(tmp_path: Path) -> None:
    error = LMRequestRejected("the model refused", endpoint="e", hint="Ask otherwise.")
    async with Runtime(lm=Asked(lambda _: error), store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"})
        waiting = await failure_of(handle)
        later = await failure_of(handle)
        assert type(later) is type(waiting) is LMRequestRejected
        assert later.message == waiting.message


async def test_one_predictor_gives_typed_outputs_whoever_asks_and_when(tmp_path: Path) -> None:
    class Tags(rp.Signature):
        text: str = rp.InputField()
        tags: set[str] = rp.OutputField()

    store = tmp_path / "s.db"
    async with Runtime(lm=Asked(lambda _: '{"tags": ["a"]}'), store=store) as runtime:
        await runtime.start(rp.Predict(Tags), name="tags")
        handle = await runtime.submit("tags", {"text": "x"})
        assert (await outcome_of(handle)).tags == {"a"}
        assert (await outcome_of(handle)).tags == {"a"}
    async with Runtime(lm=Asked(), store=store) as runtime:
        handle = await runtime.find_run(handle.id)
        assert (await outcome_of(handle)).tags == ["a"]  # as JSON has it: nobody knows the program here
        await runtime.start(rp.Predict(Tags), name="tags")
        assert (await outcome_of(handle)).tags == {"a"}


async def test_a_run_is_found_by_its_id(tmp_path: Path) -> None:
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"}, key="k")
        await outcome_of(handle)
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        found = await runtime.find_run(handle.id)
        assert (found.id, found.program, found.key, found.durable) == (handle.id, "Two", "k", True)
        assert (await found.status()).outputs == {"answer": "xma"}
        with pytest.raises(RunUnknown, match="there is no run 'nope'"):
            await runtime.find_run("nope")
    async with Runtime(lm=Asked(), store=None) as runtime:
        with pytest.raises(RunUnknown):
            await runtime.find_run(handle.id)


async def test_waiting_for_the_outcome_has_a_limit_and_can_be_given_up(tmp_path: Path) -> None:
    lm = Asked(held=lambda _: True)
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"})
        with pytest.raises(TimeoutError):
            await handle.result(timeout=0.01)
        waiting = asyncio.create_task(handle.result())
        await lm.until_asked()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not lm.given_up.is_set()
        lm.release.set()
        assert (await outcome_of(handle)).answer == "xma"


async def test_who_waits_for_the_outcome_is_told_when_the_runtime_closes(tmp_path: Path) -> None:
    lm = Asked(held=lambda _: True)
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"})
        await lm.until_asked()
        waiting = asyncio.create_task(failure_of(handle))
        await asyncio.sleep(0)
    assert isinstance(await waiting, RuntimeClosed)


async def test_of_many_runs_submitted_in_one_turn_none_is_lost(tmp_path: Path) -> None:
    """More than a mailbox holds: none of them may be lost between the disk and whoever executes it."""
    lm = Asked(held=lambda _: True)
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        ask = await runtime.start(rp.Predict("text -> middle"))
        handles = await asyncio.gather(*(runtime.submit(ask, {"text": str(n)}) for n in range(300)))
        assert len(runtime.runs.live) == len(handles) == 300
        lm.release.set()
        assert {(await outcome_of(handle)).middle for handle in handles} == {f"{n}m" for n in range(300)}


def _say(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("go on\n")
    process.stdin.flush()


def _said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
