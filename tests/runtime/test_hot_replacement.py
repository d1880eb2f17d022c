"""A running program gets a new version while it is called: nothing is lost, and every run ends where it began."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import repertory as rp
from repertory.actors import ActorInfo
from repertory.errors import ActorDown, InjectedCrash, LMServerError, ProgramError, RuntimeClosed
from repertory.events import ActorRestarted, RolloutAdvanced, RolloutPromoted, RolloutRolledBack, RunFinished
from repertory.providers.messages import LMRequest, LMResponse
from repertory.runtime.rollout_plan import RolloutPlan
from repertory.testing import FakeClock, ScriptedLM
from tests.runtime.programs import Collected
from tests.virtual_time import LoopClock, run_in_virtual_time

PLAN = RolloutPlan(steps=(0.25, 1.0), seconds_per_step=10, min_runs=5)


class Ask(rp.Module):
    """Asks twice; its instructions say which version it is."""

    def __init__(self, version: str) -> None:
        self.first = rp.Predict("text -> middle", instructions=version)
        self.second = rp.Predict("middle -> answer", instructions=version)

    async def forward(self, text: str) -> rp.Prediction:
        middle = await self.first(text=text)
        return await self.second(middle=middle.middle)


def version_of(request: LMRequest) -> str:
    """Which version asks: the prompt has its instructions."""
    text = "".join(message.text for message in request.messages)
    return next(name for name in ("one", "two", "three") if f"version {name}" in text)


def told_by(request: LMRequest) -> str:
    """Every output is the name of the version that asked."""
    name = "middle" if "middle" not in request.messages[-1].text else "answer"
    return json.dumps({name: version_of(request)})


def asks(name: str) -> Ask:
    return Ask(f"You are version {name}.")


class SlowLM(ScriptedLM):
    """Takes a second for every answer, on the loop's clock."""

    async def complete(self, request: LMRequest) -> LMResponse:
        await asyncio.sleep(1)
        return await super().complete(request)


class GatedLM(ScriptedLM):
    """Answers once ``gate`` is open."""

    def __init__(self, script: Callable[[LMRequest], str]) -> None:
        super().__init__(script)
        self.gate = asyncio.Event()

    async def complete(self, request: LMRequest) -> LMResponse:
        await self.gate.wait()
        return await super().complete(request)


async def next_look(clock: FakeClock) -> None:
    """Let the keeper of rollouts look once; that of endpoints, the ledger and the guard sleep on the clock too."""
    await clock.until_asleep(4)
    clock.advance(1)


async def test_runs_under_way_end_on_the_version_they_began_with(tmp_path: Path) -> None:
    lm, clock = GatedLM(told_by), FakeClock()
    async with rp.Runtime(lm=lm, store=tmp_path / "s.db", clock=clock) as runtime:
        ask = await runtime.start(asks("one"), name="ask")
        early = [asyncio.create_task(ask(text=str(number))) for number in range(20)]
        await asyncio.sleep(0)
        release = await runtime.release(asks("two"), name="ask", plan=PLAN)
        await release.promote()
        late = [asyncio.create_task(ask(text=str(number))) for number in range(20)]
        await asyncio.sleep(0)
        assert runtime.actor("root/programs/ask/first/pool").running
        lm.gate.set()
        assert {(await run).answer for run in early} == {"one"}
        assert {(await run).answer for run in late} == {"two"}
        await next_look(clock)
        await release.settled()
        assert not runtime.actor("root/programs/ask/first/pool").running
        assert runtime.actor("root/programs/ask@2/first/pool").running
        assert (await ask(text="x")).answer == "two"


@pytest.mark.parametrize("outcome", ["promoted", "rolled_back"])
def test_nothing_is_lost_while_versions_change_under_load(tmp_path: Path, outcome: str) -> None:
    """Some 600 calls, 20 a second, all of which are answered, by the version on which they began."""
    told = Collected()

    async def main() -> None:
        lm = SlowLM(told_by)
        async with rp.Runtime(lm=lm, store=None, hooks=[told], clock=LoopClock()) as runtime:
            ask = await runtime.start(asks("one"), name="ask")
            calls = []

            async def load(seconds: int) -> None:
                for number in range(seconds * 20):
                    calls.append(asyncio.create_task(ask.run({"text": str(number)})))
                    await asyncio.sleep(0.05)

            await load(5)
            release = await runtime.release(asks("two"), name="ask", plan=PLAN)
            await load(5)
            if outcome == "rolled_back":
                await release.roll_back("by hand")
            await load(20)
            assert (await release.outcome()).state == outcome
            runs = await asyncio.gather(*calls)
            await release.settled()
            assert len(runs) == 600
            answers = [run.prediction.answer for run in runs]
            # Of the second 5 s each fourth; then all or none, but for what the last step takes to come.
            assert answers[:100] == ["one"] * 100
            assert answers[100:200].count("two") == 25
            if outcome == "promoted":
                assert answers[-250:] == ["two"] * 250
            else:
                assert answers[200:] == ["one"] * 400
            alive = {info.path for info in _flat(runtime.tree()) if info.path.endswith("/pool")}
            survivor = "ask@2" if outcome == "promoted" else "ask"
            assert alive == {f"root/programs/{survivor}/{predictor}/pool" for predictor in ("first", "second")}

    run_in_virtual_time(main())
    assert [event.error for event in told.of(RunFinished)] == [None] * 600
    weights = [event.weight for event in told.of(RolloutAdvanced)]
    assert weights == ([0.25, 1.0] if outcome == "promoted" else [0.25])
    assert len(told.of(RolloutPromoted)) == (outcome == "promoted")
    assert len(told.of(RolloutRolledBack)) == (outcome == "rolled_back")


def _flat(infos: tuple[ActorInfo, ...]) -> list[ActorInfo]:
    return [info for each in infos for info in (each, *_flat(each.children))]


def test_a_version_that_fails_is_rolled_back_by_itself_and_callers_are_soon_well(tmp_path: Path) -> None:
    told = Collected()

    def answer(request: LMRequest) -> str | Exception:
        return LMServerError("down") if version_of(request) == "two" else told_by(request)

    async def main() -> None:
        async with rp.Runtime(lm=ScriptedLM(answer), store=None, hooks=[told], clock=LoopClock()) as runtime:
            ask = await runtime.start(asks("one"), name="ask")
            release = await runtime.release(asks("two"), name="ask", plan=PLAN)
            failed = 0
            for number in range(200):
                try:
                    await ask(text=str(number))
                except LMServerError:
                    failed += 1
                await asyncio.sleep(0.02)
            verdict = await release.outcome()
            assert verdict.state == "rolled_back"
            assert verdict.reason.startswith("100.0% of its")
            assert failed < 20

    run_in_virtual_time(main())


async def test_a_key_stays_with_the_version_that_accepted_it(tmp_path: Path) -> None:
    fails = True

    def answer(request: LMRequest) -> str | Exception:
        return LMServerError("down") if fails and "middle" in request.messages[-1].text else told_by(request)

    clock = FakeClock()
    lm = ScriptedLM(answer)
    async with rp.Runtime(lm=lm, store=tmp_path / "s.db", clock=clock) as runtime:
        ask = await runtime.start(asks("one"), name="ask")
        with pytest.raises(LMServerError):
            await ask.run({"text": "x"}, key="k")
        release = await runtime.release(asks("two"), name="ask", plan=PLAN)
        await release.promote()
        fails = False
        seen = len(lm.requests)
        assert (await ask.run({"text": "x"}, key="k")).prediction.answer == "one"
        assert len(lm.requests) == seen + 1  # the first step was in the journal
        assert (await ask.run({"text": "x"}, key="k")).replayed
        assert (await ask.run({"text": "x"}, key="l")).prediction.answer == "two"
        await next_look(clock)
        await release.settled()
        with pytest.raises(ProgramError, match="another version of ask"):
            await ask.run({"text": "x"}, key="k")


async def test_one_key_is_one_run_also_where_two_versions_might_take_it(tmp_path: Path) -> None:
    async with rp.Runtime(lm=ScriptedLM(told_by), store=tmp_path / "s.db") as runtime:
        ask = await runtime.start(asks("one"), name="ask")
        await runtime.release(asks("two"), name="ask", plan=RolloutPlan(steps=(0.5, 1.0)))
        runs = await asyncio.gather(*(ask.run({"text": "x"}, key="k") for _ in range(10)))
        assert sorted(run.replayed for run in runs) == [False] + [True] * 9
        assert len({run.prediction.answer for run in runs}) == 1


async def test_callers_with_a_sticky_key_stay_on_one_version() -> None:
    async with rp.Runtime(lm=ScriptedLM(told_by), store=None) as runtime:
        ask = await runtime.start(asks("one"), name="ask")
        await runtime.release(asks("two"), name="ask", plan=RolloutPlan(steps=(0.5, 1.0)))
        seen = set()
        for customer in range(20):
            terms = rp.Terms(sticky=str(customer))
            runs = [await ask.run({"text": "x"}, terms=terms) for _ in range(3)]
            (answer,) = {run.prediction.answer for run in runs}
            seen.add(answer)
        assert seen == {"one", "two"}


async def test_each_version_keeps_parameters_of_its_own(tmp_path: Path) -> None:
    clock = FakeClock()
    async with rp.Runtime(lm=ScriptedLM(told_by), store=tmp_path / "s.db", clock=clock) as runtime:
        ask = await runtime.start(asks("one"), name="ask")
        tuned = ask.parameters()["first"].model_copy(update={"instructions": "You are version three."})
        await ask.update_parameters("first", tuned)
        release = await runtime.release(asks("two"), name="ask", plan=PLAN)
        assert ask.parameters()["first"] == tuned
        await release.promote()
        assert ask.parameters()["first"].instructions == "You are version two."
        await next_look(clock)
        await release.settled()
        await ask.update_parameters("first", tuned)
        assert ask.parameters()["first"] == tuned


async def test_a_program_whose_callers_would_be_refused_is_not_released() -> None:
    async with rp.Runtime(lm=ScriptedLM([]), store=None) as runtime:
        await runtime.start(rp.Predict("text, tone='dry' -> answer"), name="p")
        for signature, complaint in (
            ("tone -> answer", "does not take the input 'text'"),
            ("text, tone, more -> answer", "requires the input 'more'"),
        ):
            with pytest.raises(ProgramError, match=complaint):
                await runtime.release(rp.Predict(signature), name="p")
        with pytest.raises(ProgramError, match="no program 'q' is running"):
            await runtime.release(rp.Predict("text -> answer"), name="q")
        assert runtime.deployments["p"].releases.settled


async def test_a_version_that_cannot_start_leaves_everything_as_it_was() -> None:
    async with rp.Runtime(lm=ScriptedLM(told_by), store=None) as runtime:
        ask = await runtime.start(asks("one"), name="ask")
        broken = rp.Predict("text -> answer", lm="nobody")
        with pytest.raises(ProgramError, match="wants the language model 'nobody'"):
            await runtime.release(broken, name="ask")
        assert (await ask(text="x")).answer == "one"
        release = await runtime.release(asks("two"), name="ask", plan=PLAN)
        assert release.version == "ask@3"


@pytest.mark.parametrize("branch", ["rollouts", "programs"])
def test_a_branch_that_crashes_in_a_rollout_comes_back_and_goes_on_with_it(branch: str) -> None:
    told = Collected()

    async def main() -> None:
        async with rp.Runtime(lm=SlowLM(told_by), store=None, hooks=[told], clock=LoopClock()) as runtime:
            ask = await runtime.start(asks("one"), name="ask")
            release = await runtime.release(asks("two"), name="ask", plan=PLAN)
            runtime.actor(f"root/{branch}").kill(InjectedCrash("on purpose"))
            await told.until(ActorRestarted)
            while release.snapshot().state != "promoted":
                await asyncio.gather(*(ask(text=str(number)) for number in range(20)))
            await release.settled()
            assert (await ask(text="x")).answer == "two"

    run_in_virtual_time(main())


async def test_a_batch_goes_on_where_its_version_has_been_stopped() -> None:
    """It is bound to the version it began with, and that is the only way in that may have been closed."""
    clock = FakeClock()
    async with rp.Runtime(lm=ScriptedLM(told_by), store=None, clock=clock) as runtime:
        ask = await runtime.start(asks("one"), name="ask")
        release = await runtime.release(asks("two"), name="ask", plan=PLAN)
        assert (await ask.resume({"text": "x"}, "k", None)).prediction.answer == "one"
        await release.promote()
        assert (await ask.resume({"text": "x"}, "l", None)).prediction.answer == "one"
        await clock.until_asleep(3)
        clock.advance(1)
        await release.settled()
        assert (await ask.resume({"text": "x"}, "m", None)).prediction.answer == "two"


async def test_stopping_a_program_stops_all_its_versions() -> None:
    async with rp.Runtime(lm=ScriptedLM(told_by), store=None) as runtime:
        ask = await runtime.start(asks("one"), name="ask")
        release = await runtime.release(asks("two"), name="ask", plan=PLAN)
        await runtime.stop(ask)
        for version in ("ask", "ask@2"):
            assert not runtime.actor(f"root/programs/{version}").running
        with pytest.raises(RuntimeClosed):
            await release.outcome()
        with pytest.raises(ActorDown):
            await ask(text="x")
        again = await runtime.start(asks("three"), name="ask")
        assert (await again(text="x")).answer == "three"


async def test_closing_the_runtime_tells_who_waits_for_the_outcome() -> None:
    async with rp.Runtime(lm=ScriptedLM(told_by), store=None) as runtime:
        await runtime.start(asks("one"), name="ask")
        release = await runtime.release(asks("two"), name="ask", plan=PLAN)
    with pytest.raises(RuntimeClosed, match="during the release of ask"):
        await release.outcome()


async def test_a_new_version_is_run_as_the_present_one_unless_something_else_is_said() -> None:
    async with rp.Runtime(lm=ScriptedLM(told_by), store=None) as runtime:
        ask = await runtime.start(
            asks("one"), name="ask", replicas=3, on_failure="tolerant", uncertain="hold", changed="continue"
        )
        await runtime.release(asks("two"), name="ask", plan=PLAN, concurrency=2)
        (candidate,) = [each for each in ask.releases.others() if each is not ask.current]
        assert candidate.options == replace(ask.current.options, concurrency=2)
        assert repr(runtime.tree()).count("path='root/programs/ask@2/first/pool/") == 3
