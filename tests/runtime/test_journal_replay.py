"""The journal: what was finished before an interruption is read, not asked again."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

import repertory as rp
from repertory.errors import LMRequestRejected, LMServerError
from repertory.events import Event, LMCallFinished, RunFinished
from tests.endpoint import Hang, Hold, Reply, ScriptedEndpoint, Seen, Status, Step
from tests.runtime.programs import Collected, Fan, Two, field_and_value, reply_to, requests_seen, runtime_for


async def test_a_finished_run_is_read(tmp_path: Path) -> None:
    async with ScriptedEndpoint(reply_to) as server:
        for replayed in (False, True):
            told = Collected()
            async with runtime_for(server, tmp_path / "s.db", hooks=[told]) as runtime:
                two = await runtime.start(Two())
                run = await two.run({"text": "x"}, key="k")
                assert (run.prediction.answer, run.replayed, run.prediction.lm_calls) == ("amx", replayed, 2)
                assert run.prediction.usage.input_tokens == 22
                (finished,) = told.of(RunFinished)
                assert (finished.run_id, finished.error, finished.replayed) == (run.id, None, replayed)
        assert len(server.requests) == 2


async def test_typed_outputs_of_one_predictor_come_back_typed(tmp_path: Path) -> None:
    from datetime import date

    class When(rp.Signature):
        text: str = rp.InputField()
        day: date = rp.OutputField()
        tags: set[str] = rp.OutputField()

    async with ScriptedEndpoint([Reply('{"day": "2000-01-02", "tags": ["a"]}')]) as server:
        for _ in range(2):
            async with runtime_for(server, tmp_path / "s.db") as runtime:
                when = await runtime.start(rp.Predict(When))
                run = await when.run({"text": "x"}, key="k")
                assert run.prediction.outputs == {"day": date(2000, 1, 2), "tags": {"a"}}


async def test_a_step_finished_before_the_failure_is_not_asked_again(tmp_path: Path) -> None:
    script: list[Step] = [Reply('{"middle": "m"}'), Status(400), Reply('{"answer": "a"}')]
    async with ScriptedEndpoint(script) as server:
        async with runtime_for(server, tmp_path / "s.db") as runtime:
            two = await runtime.start(Two())
            with pytest.raises(LMRequestRejected):
                await two.run({"text": "x"}, key="k")
            run = await two.run({"text": "x"}, key="k")
        assert (run.prediction.answer, run.replayed) == ("a", False)
        assert (run.prediction.lm_calls, run.prediction.usage.output_tokens) == (2, 14)
        assert [field_and_value(seen)[0] for seen in server.requests] == ["text", "middle", "middle"]


async def test_a_run_cut_off_by_the_end_of_its_runtime_goes_on_in_the_next(tmp_path: Path) -> None:
    stuck = True

    def script(seen: Seen) -> Step:
        return Hang() if stuck and field_and_value(seen)[0] == "middle" else reply_to(seen)

    async with ScriptedEndpoint(script) as server:
        async with runtime_for(server, tmp_path / "s.db") as runtime:
            two = await runtime.start(Two())
            running = asyncio.create_task(two.run({"text": "x"}, key="k"))
            await requests_seen(server, 2)
            running.cancel()
            await asyncio.wait([running])
        stuck = False
        async with runtime_for(server, tmp_path / "s.db") as runtime:
            run = await (await runtime.start(Two())).run({"text": "x"}, key="k")
        assert run.prediction.answer == "amx"
        assert [field_and_value(seen)[0] for seen in server.requests] == ["text", "middle", "middle"]


async def test_identical_calls_and_branches_are_told_apart(tmp_path: Path) -> None:
    """Of five concurrent first steps two fail: only these are asked again, and each answer keeps its place."""
    times: Counter[str] = Counter()
    answered = asyncio.Event()  # the three that succeed: what fails takes those under way with it

    def script(seen: Seen) -> Step:
        name, _ = field_and_value(seen)
        times[name] += 1
        if name == "text":
            return (
                Hold(answered, Status(400)) if times[name] in (2, 4) else Reply(f'{{"middle": "m{times[name]}"}}')
            )
        return reply_to(seen)

    def hook(event: Event) -> None:
        told.append(event)
        if sum(isinstance(each, LMCallFinished) and each.error is None for each in told) == 3:
            answered.set()

    told: list[Event] = []
    async with (
        ScriptedEndpoint(script) as server,
        runtime_for(server, tmp_path / "s.db", hooks=[hook]) as runtime,
    ):
        fan = await runtime.start(Fan())
        with pytest.raises(LMRequestRejected):
            await fan.run({"text": "x"}, key="k")
        run = await fan.run({"text": "x"}, key="k")
        assert times["text"] == 7
        assert sorted(run.prediction.answers) == ["am1", "am3", "am5", "am6", "am7"]
        assert run.prediction.lm_calls == 10


async def test_other_demonstrations_make_it_another_step(tmp_path: Path) -> None:
    class Shown(rp.Module):
        def __init__(self) -> None:
            self.ask = rp.Predict("text -> answer")

        async def forward(self, text: str) -> rp.Prediction:
            one = await self.ask(text=text, demos=[rp.Example(text={1, 2}, answer="1")])
            two = await self.ask(text=text, demos=[])
            three = await self.ask(text=text)
            return rp.Prediction(all=[one.answer, two.answer, three.answer])

    one, two, three = (Reply(f'{{"answer": "{number}"}}') for number in (1, 2, 3))
    replies: list[Step] = [one, two, Status(400), three]
    async with ScriptedEndpoint(replies) as server, runtime_for(server, tmp_path / "s.db") as runtime:
        shown = await runtime.start(Shown())
        with pytest.raises(LMRequestRejected):
            await shown.run({"text": "x"}, key="k")
        assert (await shown.run({"text": "x"}, key="k")).prediction.all == ["1", "2", "3"]


async def test_runs_without_a_key_are_new_ones(tmp_path: Path) -> None:
    async with ScriptedEndpoint(reply_to) as server, runtime_for(server, tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        ids = {(await two.run({"text": "x"})).id for _ in range(3)}
        assert (len(ids), len(server.requests)) == (3, 6)


async def test_without_a_store_nothing_is_kept() -> None:
    async with ScriptedEndpoint(reply_to) as server, runtime_for(server) as runtime:
        two = await runtime.start(Two())
        for _ in range(2):
            assert not (await two.run({"text": "x"}, key="k")).replayed
        assert (runtime.journal, len(server.requests)) == (None, 4)


async def test_steps_wait_on_the_disk_together(tmp_path: Path) -> None:
    """A run's end is reported only after its steps are in the journal."""
    release = asyncio.Event()
    async with (
        ScriptedEndpoint(lambda seen: Hold(release, Reply('{"middle": "m", "answer": "a"}'))) as server,
        runtime_for(server, tmp_path / "s.db") as runtime,
    ):
        two = await runtime.start(Two())
        runs = [asyncio.create_task(two.run({"text": str(number)}, key=str(number))) for number in range(20)]
        await requests_seen(server, 20)
        release.set()
        found = await asyncio.gather(*runs)
        assert runtime.journal is not None
        for run in found:
            assert len((await runtime.journal.history(run.id)).steps) == 2


async def test_a_failure_is_remembered_as_such(tmp_path: Path) -> None:
    async with (
        ScriptedEndpoint(lambda _: Status(500)) as server,
        runtime_for(server, tmp_path / "s.db") as runtime,
    ):
        two = await runtime.start(Two())
        with pytest.raises(LMServerError):
            await two.run({"text": "x"}, key="k")
        recorded = (await two.recorded(["k"]))["k"]
        assert (recorded.status, recorded.outputs) == ("failed", None)
