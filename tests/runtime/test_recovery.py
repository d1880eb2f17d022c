"""Recovery: a runtime that ends at any moment is followed by one that goes on, and asks nothing twice."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import repertory as rp
from repertory.actors import ActorRef
from repertory.errors import StoreError
from repertory.events import ActorRestarted
from repertory.runtime.run_keeper import Sweep
from repertory.runtime.runtime import Runtime
from tests.endpoint import Hang, Reply, ScriptedEndpoint, Seen, Step
from tests.runtime.programs import Collected, Two, field_and_value, reply_to, requests_seen, runtime_for
from tests.runtime.submitted import (
    Asked,
    Chain,
    as_killed_now,
    events_of,
    events_until,
    failure_of,
    fields_asked,
    kinds,
    outcome_of,
)

EVENTS = 6  # of a run of `Gated`: accepted, four steps, done


class Gated(Chain):
    """`Chain` that ends when it may."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def forward(self, n0: str) -> rp.Prediction:
        prediction = await super().forward(n0)
        await self.gate.wait()
        return prediction


def outcomes(events: list[rp.RunEvent]) -> list[str]:
    """The steps that have their outputs."""
    return [event.data["step"] for event in events if event.kind == "step" and "outputs" in event.data]


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("event", range(1, EVENTS + 1))
async def test_a_run_goes_on_from_whatever_was_on_disk(tmp_path: Path, event: int, closed: bool) -> None:
    """The first process ends, closed or killed, when the run's ``event``-th event is on disk."""
    before = Asked(held=lambda text: text.startswith(f"n{event - 1}"))
    program = Gated()
    if event == EVENTS:
        program.gate.set()
    async with Runtime(lm=before, store=tmp_path / "s.db") as runtime:
        await runtime.start(program)
        handle = await runtime.submit("Gated", {"n0": "x"}, key="k")
        kind = {1: "accepted", EVENTS: "done"}.get(event, "step")
        await events_until(handle, kind, event - 1 if kind == "step" else 1)
        await before.until_asked(min(event, 4))
        as_killed_now(tmp_path / "s.db", tmp_path / "killed.db")
    after = Asked()
    program.gate.set()
    async with Runtime(lm=after, store=tmp_path / ("s.db" if closed else "killed.db")) as runtime:
        await runtime.start(program)
        handle = await runtime.submit("Gated", {"n0": "x"}, key="k")
        assert (await outcome_of(handle)).answer == "x1234"
        events = await events_of(handle)
        assert [each.id for each in events] == list(range(1, len(events) + 1))
        assert outcomes(events) == [f"steps[{number}]" for number in range(4)]
        assert kinds(events).count("done") == 1
        assert (await handle.status()).lm_calls == 4
    assert fields_asked(after) == [f"n{number}" for number in range(event - 1, 4)]


def all_but(asked: str) -> Callable[[str], bool]:
    """Questions that do not begin like this."""
    return lambda text: not text.startswith(asked)


async def test_a_run_survives_many_deaths(tmp_path: Path) -> None:
    """Each process does one step, and is killed in the next."""
    handle_id = ""
    asked: list[str] = []
    for life in range(4):
        lm = Asked(held=all_but(f"n{life}"))
        async with Runtime(lm=lm, store=tmp_path / f"{life}.db") as runtime:
            await runtime.start(Chain())
            if not life:
                handle_id = (await runtime.submit("Chain", {"n0": "x"})).id
            handle = await runtime.find_run(handle_id)
            if life < 3:
                await lm.until_asked(2)
                await events_until(handle, "step", life + 1)
            else:
                assert (await outcome_of(handle)).answer == "x1234"
            as_killed_now(tmp_path / f"{life}.db", tmp_path / f"{life + 1}.db")
        asked += fields_asked(lm)
    assert asked == ["n0", "n1", "n1", "n2", "n2", "n3", "n3"]


async def test_only_submitted_runs_go_on_by_themselves(tmp_path: Path) -> None:
    lm = Asked(held=lambda text: text.startswith("middle"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        call = asyncio.create_task(two.run({"text": "x"}, key="k"))
        await lm.until_asked(2)
        call.cancel()
        await asyncio.wait([call])
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        runtime.actor("root/runs").tell(Sweep())
        assert lm.questions == []
        run = await two.run({"text": "x"}, key="k")
        assert (run.prediction.answer, run.replayed) == ("xma", False)
    assert fields_asked(lm) == ["middle"]


async def test_a_call_under_the_key_of_an_interrupted_run_waits_for_it(tmp_path: Path) -> None:
    lm = Asked(held=lambda text: text.startswith("middle"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        await runtime.submit("Two", {"text": "x"}, key="k")
        await lm.until_asked(2)
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        runs = await asyncio.gather(*(two.run({"text": "x"}, key="k") for _ in range(3)))
        assert [run.prediction.answer for run in runs] == ["xma"] * 3
    assert fields_asked(lm) == ["middle"]


async def test_a_run_whose_process_died_goes_on_in_one_that_lives(tmp_path: Path) -> None:
    """It is found when the store is looked through for such runs; the test has that done at once."""
    lm, other_lm = Asked(held=lambda text: text.startswith("middle")), Asked()
    async with Runtime(lm=other_lm, store=tmp_path / "s.db") as other:
        await other.start(Two())
        async with Runtime(lm=lm, store=tmp_path / "s.db") as owner:
            await owner.start(Two())
            handle = await owner.submit("Two", {"text": "x"})
            await lm.until_asked(2)
            other.actor("root/runs").tell(Sweep())
            elsewhere = await other.find_run(handle.id)
            assert (await elsewhere.status()).status == "accepted"
            assert other_lm.questions == []  # its owner lives
        other.actor("root/runs").tell(Sweep())
        assert (await outcome_of(elsewhere)).answer == "xma"
    assert fields_asked(other_lm) == ["middle"]


async def test_a_program_that_is_not_started_leaves_its_runs_as_they_are(tmp_path: Path) -> None:
    lm = Asked(held=lambda text: text.startswith("middle"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"})
        await lm.until_asked(2)
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        runtime.actor("root/runs").tell(Sweep())
        handle = await runtime.find_run(handle.id)
        assert (await handle.status()).status == "accepted"
        await runtime.start(Two())
        assert (await outcome_of(handle)).answer == "xma"


# --- crashes within a process ---


@pytest.mark.parametrize("durable", [True, False])
async def test_runs_go_on_when_their_keeper_crashes(tmp_path: Path, durable: bool) -> None:
    lm = Asked(held=lambda text: text.startswith("n2"))
    async with Runtime(lm=lm, store=tmp_path / "s.db" if durable else None) as runtime:
        await runtime.start(Chain())
        handles = [await runtime.submit("Chain", {"n0": f"{n}-"}, durable=durable) for n in range(5)]
        waiting = [asyncio.create_task(outcome_of(handle)) for handle in handles]
        await lm.until_asked(15)
        for _ in range(2):
            runtime.actor("root/runs").kill(ValueError("a fault"))
            await lm.until_asked(5)
        lm.release.set()
        assert [(await each).answer for each in waiting] == [f"{n}-1234" for n in range(5)]
        for handle in handles:
            events = await events_of(handle)
            assert [event.id for event in events] == list(range(1, len(events) + 1))
            assert outcomes(events) == [f"steps[{number}]" for number in range(4)]
    asked = fields_asked(lm)
    assert [asked.count(f"n{number}") for number in range(4)] == [5, 5, 15, 5]


async def test_a_keeper_that_crashes_while_it_is_told_of_runs_loses_none(tmp_path: Path) -> None:
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        submitting = [asyncio.create_task(runtime.submit("Chain", {"n0": f"{n}-"})) for n in range(20)]
        await asyncio.gather(*submitting)
        runtime.actor("root/runs").kill(ValueError("a fault"))
        handles = [each.result() for each in submitting]
        assert {(await outcome_of(each)).answer for each in handles} == {f"{n}-1234" for n in range(20)}


@pytest.mark.parametrize("path", ["root/programs/Chain/steps[2]/pool", "root/programs/Chain/steps[2]"])
async def test_a_step_is_given_to_another_actor_when_the_one_at_work_crashes(tmp_path: Path, path: str) -> None:
    lm = Asked(held=lambda text: text.startswith("n2"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await lm.until_asked(3)
        runtime.actor(path).kill(ValueError("a fault"))
        await lm.until_asked()
        lm.release.set()
        assert (await outcome_of(handle)).answer == "x1234"
    assert fields_asked(lm) == ["n0", "n1", "n2", "n2", "n3"]


async def test_runs_go_on_when_all_actors_of_all_programs_crash(tmp_path: Path) -> None:
    lm = Asked(held=lambda text: text.startswith("n2"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await lm.until_asked(3)
        runtime.actor("root/programs").kill(ValueError("a fault"))
        await lm.until_asked()
        lm.release.set()
        assert (await outcome_of(handle)).answer == "x1234"


async def test_who_waits_is_told_when_the_tree_gives_up(tmp_path: Path) -> None:
    lm = Asked(held=lambda _: True)
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"})
        await lm.until_asked()
        waiting = asyncio.create_task(failure_of(handle))
        root: ActorRef = runtime.actor("root")
        root.kill(ValueError("broken for good"))
        assert "broken for good" in str(await waiting)
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        assert (await outcome_of(await runtime.find_run(handle.id))).answer == "xma"


async def test_a_run_whose_outcome_could_not_be_written_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its steps are recorded; what was lost is written when the store is looked through again."""
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        assert runtime.journal is not None

        async def full(*_: object) -> None:
            raise StoreError("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(runtime.journal, "end", full)
            handle = await runtime.submit("Chain", {"n0": "x"})
            assert isinstance(await failure_of(handle), StoreError)
        runtime.actor("root/runs").tell(Sweep())
        assert (await outcome_of(handle)).answer == "x1234"
    assert fields_asked(lm) == ["n0", "n1", "n2", "n3"]


# --- endpoints ---


async def test_an_answer_that_was_paid_for_is_not_bought_again(tmp_path: Path) -> None:
    """The step had its first answer, and was being corrected, when the process was killed."""
    stuck = True

    def script(seen: Seen) -> Step:
        if len(seen.body["messages"]) > 2:
            return Hang() if stuck else Reply('{"middle": "m"}')
        return Reply("no JSON")

    async with ScriptedEndpoint(script) as server:
        async with runtime_for(server, tmp_path / "s.db") as runtime:
            await runtime.start(rp.Predict("text -> middle"), name="ask")
            handle = await runtime.submit("ask", {"text": "x"})
            await requests_seen(server, 2)
            as_killed_now(tmp_path / "s.db", tmp_path / "killed.db")
        stuck = False
        async with runtime_for(server, tmp_path / "killed.db") as runtime:
            await runtime.start(rp.Predict("text -> middle"), name="ask")
            handle = await runtime.find_run(handle.id)
            assert (await outcome_of(handle)).middle == "m"
            status = await handle.status()
            assert (status.uncertain_calls, status.lm_calls) == (1, 2)
        turns = [len(seen.body["messages"]) for seen in server.requests]
        assert turns[1] == turns[2] > turns[0]
        assert len(turns) == 3


@pytest.mark.parametrize("policy", ["rebuy", "hold", "fail"])
async def test_a_call_that_was_under_way_is_listed_and_treated_by_policy(tmp_path: Path, policy: Any) -> None:
    stuck = True

    def script(seen: Seen) -> Step:
        return Hang() if stuck and field_and_value(seen)[0] == "middle" else reply_to(seen)

    async with ScriptedEndpoint(script) as server:
        async with runtime_for(server, tmp_path / "s.db") as runtime:
            await runtime.start(Two(), uncertain=policy)
            handle = await runtime.submit("Two", {"text": "x"})
            await requests_seen(server, 2)
            as_killed_now(tmp_path / "s.db", tmp_path / "killed.db")
        stuck = False
        async with runtime_for(server, tmp_path / "killed.db") as runtime:
            await runtime.start(Two(), uncertain=policy)
            handle = await runtime.find_run(handle.id)
            if policy != "rebuy":
                assert (await failure_of(handle)).code == "call_uncertain"
                assert (await handle.status()).status == {"hold": "held", "fail": "failed"}[policy]
                assert len(server.requests) == 2
                await handle.retry()
            assert (await outcome_of(handle)).answer == "amx"
            (call,) = await runtime.runs.uncertain(handle.id, 10)
            assert (call.endpoint, call.policy) == ("default", policy)
            assert (await handle.status()).uncertain_calls == 1
        assert [field_and_value(seen)[0] for seen in server.requests] == ["text", "middle", "middle"]


async def test_a_run_whose_log_is_damaged_fails_and_the_others_go_on(tmp_path: Path) -> None:
    lm = Asked(held=lambda text: text.startswith("n2"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handles = [await runtime.submit("Chain", {"n0": f"{n}-"}) for n in range(3)]
        await lm.until_asked(9)
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection, connection:
        damage = "UPDATE run_events SET data = '{}' WHERE run_id = ? AND kind = 'step'"
        connection.execute(damage, (handles[1].id,))
    told = Collected()
    async with Runtime(lm=Asked(), store=tmp_path / "s.db", hooks=[told]) as runtime:
        await runtime.start(Chain())
        found = [await runtime.find_run(handle.id) for handle in handles]
        assert "log cannot be read" in str(await failure_of(found[1]))
        assert [(await outcome_of(found[n])).answer for n in (0, 2)] == ["0-1234", "2-1234"]
        assert told.of(ActorRestarted) == []
