"""What can be done about a run: cancel it, retry it, replay it dry, fork it; its deadline and who pays."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import repertory as rp
from repertory.errors import (
    DeadlineExceeded,
    InputError,
    KeyReused,
    LMRequestRejected,
    ProgramChanged,
    ProgramError,
    RunCancelled,
    RunReplayIncomplete,
    RunTakenOver,
    RunUnknown,
)
from repertory.providers.messages import LMRequest
from repertory.runtime.run_ids import run_id
from repertory.runtime.run_keeper import Look
from repertory.runtime.runtime import Runtime
from repertory.store import AccountLimit
from repertory.store.run_rows import RunMessage
from repertory.testing import Answer, FakeClock
from tests.endpoint import Hang, ScriptedEndpoint, Seen, Step
from tests.runtime.programs import Two, field_and_value, reply_to, requests_seen, runtime_for
from tests.runtime.submitted import (
    PATIENCE,
    Asked,
    Chain,
    appended,
    events_of,
    events_until,
    failure_of,
    fields_asked,
    held,
    kinds,
    outcome_of,
    question,
)


class Fan(rp.Module):
    """Three independent steps that begin at once."""

    def __init__(self) -> None:
        self.branches = [rp.Predict("text -> middle") for _ in range(3)]

    async def forward(self, text: str) -> rp.Prediction:
        pending = [branch(text=text) for branch in self.branches]
        return rp.Prediction(middles=[await each.middle for each in pending])


class Refusing:
    """Refuses the question about ``field`` as long as it says so."""

    def __init__(self, field: str) -> None:
        self.field = field
        self.refuses = True

    def __call__(self, request: LMRequest) -> Answer:
        if self.refuses and question(request).startswith(self.field):
            return LMRequestRejected("no", endpoint="e")
        return appended(request)


# --- cancel ---


async def test_a_cancelled_run_gives_up_every_step_down_to_the_socket(tmp_path: Path) -> None:
    async with ScriptedEndpoint(lambda _: Hang()) as server, runtime_for(server, tmp_path / "s.db") as runtime:
        await runtime.start(Fan())
        handle = await runtime.submit("Fan", {"text": "x"})
        await requests_seen(server, 3)
        await handle.cancel()
        assert isinstance(await failure_of(handle), RunCancelled)
        async with asyncio.timeout(PATIENCE):
            await server.client_left.wait()
        status = await handle.status()
        assert (status.status, status.error and status.error[0]) == ("cancelled", "run_cancelled")
        assert kinds(await events_of(handle))[-1] == "done"
        assert {step.error and step.error[0] for step in await handle.steps()} == {"step_cancelled"}


@pytest.mark.parametrize("durable", [True, False])
async def test_a_run_that_has_ended_cannot_be_cancelled_or_told_anything(tmp_path: Path, durable: bool) -> None:
    async with Runtime(lm=Asked(), store=tmp_path / "s.db" if durable else None) as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"}, durable=durable)
        await outcome_of(handle)
        with pytest.raises(ProgramError, match="has ended: ok"):
            await handle.cancel()
        with pytest.raises(ProgramError, match="has ended: ok"):
            await handle.signal("s", 1)
        assert (await handle.status()).status == "ok"


async def test_a_run_without_a_store_can_be_cancelled(tmp_path: Path) -> None:
    lm = Asked(held=lambda _: True)
    async with Runtime(lm=lm, store=None) as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"}, durable=False)
        await lm.until_asked()
        await handle.cancel()
        assert isinstance(await failure_of(handle), RunCancelled)
        assert lm.given_up.is_set()
        assert (await handle.status()).status == "cancelled"


async def test_a_run_can_be_cancelled_before_it_has_begun(tmp_path: Path) -> None:
    lm = Asked()
    async with Runtime(lm=lm, store=None) as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"}, durable=False)
        await handle.cancel()
        assert isinstance(await failure_of(handle), RunCancelled)
    assert lm.questions == []


async def test_a_run_is_cancelled_from_another_process(tmp_path: Path) -> None:
    """Which looks into the store for what was said; the test has it look at once."""
    lm = Asked(held=lambda _: True)
    async with (
        Runtime(lm=lm, store=tmp_path / "s.db") as owner,
        Runtime(lm=Asked(), store=tmp_path / "s.db") as other,
    ):
        await owner.start(Two())
        handle = await owner.submit("Two", {"text": "x"})
        await lm.until_asked()
        elsewhere = await other.find_run(handle.id)
        await elsewhere.cancel()
        owner.actor("root/runs").tell(Look())
        assert isinstance(await failure_of(handle), RunCancelled)
        assert isinstance(await failure_of(elsewhere), RunCancelled)


async def test_a_run_cancelled_while_nobody_executes_it_stays_cancelled(tmp_path: Path) -> None:
    lm = Asked(held=lambda text: text.startswith("middle"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"})
        await lm.until_asked(2)
    lm = Asked(held=lambda _: True)
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        handle = await runtime.find_run(handle.id)
        await handle.cancel()
        await runtime.start(Two())
        assert isinstance(await failure_of(handle), RunCancelled)


async def test_of_an_outcome_and_a_cancellation_at_once_one_is_told_to_everybody(tmp_path: Path) -> None:
    """The run has ended well and that is on its way to the disk when it is cancelled."""
    returned, store = asyncio.Event(), tmp_path / "s.db"

    class Telling(Two):
        async def forward(self, text: str) -> rp.Prediction:
            try:
                return await super().forward(text)
            finally:
                returned.set()

    async with Runtime(lm=Asked(), store=store) as runtime:
        await runtime.start(Telling())
        handle = await runtime.submit("Telling", {"text": "x"})
        waiting = asyncio.create_task(handle.result())
        live = runtime.runs.live[handle.id]
        with held(store):
            await returned.wait()
            for _ in range(20):  # it goes on to the store, which is held
                await asyncio.sleep(0)
            live.hear(RunMessage("m", handle.id, "cancel", "{}", 0.0))
            await asyncio.sleep(0)
        (told,) = await asyncio.gather(waiting, return_exceptions=True)
        status = await handle.status()
        assert status.status == ("ok" if isinstance(told, rp.Prediction) else "cancelled")
        assert kinds(await events_of(handle)).count("done") == 1


# --- retry ---


async def test_a_retry_asks_again_only_what_failed(tmp_path: Path) -> None:
    script = Refusing("n2")
    lm = Asked(script)
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        assert isinstance(await failure_of(handle), LMRequestRejected)
        script.refuses = False
        await handle.retry()
        assert (await outcome_of(handle)).answer == "x1234"
        assert fields_asked(lm) == ["n0", "n1", "n2", "n2", "n3"]
        status = await handle.status()
        assert (status.status, status.error, status.lm_calls) == ("ok", None, 4)


async def test_a_retry_after_a_restart_asks_again_only_what_failed(tmp_path: Path) -> None:
    async with Runtime(lm=Asked(Refusing("n2")), store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await failure_of(handle)
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        handle = await runtime.find_run(handle.id)
        with pytest.raises(ProgramError, match="no program 'Chain' is running"):
            await handle.retry()
        await runtime.start(Chain())
        assert (await handle.status()).status == "failed"  # a failed run does not go on by itself
        await handle.retry()
        assert (await outcome_of(handle)).answer == "x1234"
    assert fields_asked(lm) == ["n2", "n3"]


async def test_a_retry_that_fails_can_be_retried(tmp_path: Path) -> None:
    script = Refusing("n2")
    lm = Asked(script)
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await failure_of(handle)
        await handle.retry()
        assert isinstance(await failure_of(handle), LMRequestRejected)
        script.refuses = False
        await handle.retry()
        assert (await outcome_of(handle)).answer == "x1234"
    assert fields_asked(lm) == ["n0", "n1", "n2", "n2", "n2", "n3"]


async def test_a_cancelled_run_is_retried_from_where_it_was(tmp_path: Path) -> None:
    lm = Asked(held=lambda text: text.startswith("n2"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await lm.until_asked(3)
        await handle.cancel()
        await failure_of(handle)
        lm.release.set()
        await handle.retry()
        assert (await outcome_of(handle)).answer == "x1234"
    assert fields_asked(lm) == ["n0", "n1", "n2", "n2", "n3"]


async def test_of_two_retries_at_once_one_is_done(tmp_path: Path) -> None:
    script = Refusing("n2")
    lm = Asked(script)
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await failure_of(handle)
        script.refuses = False
        told = await asyncio.gather(handle.retry(), handle.retry(), return_exceptions=True)
        assert (await outcome_of(handle)).answer == "x1234"
        assert fields_asked(lm) == ["n0", "n1", "n2", "n2", "n3"]
        assert told.count(None) == 1
        (error,) = [each for each in told if each is not None]
        assert isinstance(error, RunTakenOver | ProgramError)


async def test_what_is_under_way_or_ended_well_cannot_be_retried(tmp_path: Path) -> None:
    lm = Asked(held=lambda _: True)
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"})
        with pytest.raises(ProgramError, match="nothing to retry"):
            await handle.retry()
        lm.release.set()
        await outcome_of(handle)
        with pytest.raises(ProgramError, match="nothing to retry"):
            await handle.retry()


# --- replay ---


async def test_a_dry_replay_asks_nothing_and_does_nothing(tmp_path: Path) -> None:
    done: list[str] = []

    class Doing(rp.Module):
        def __init__(self) -> None:
            self.ask = rp.Predict("text -> middle")

        async def forward(self, text: str) -> rp.Prediction:
            middle = await self.ask(text=text)
            return rp.Prediction(receipt=await rp.step("charge", self.charge, middle.middle))

        def charge(self, what: str) -> str:
            done.append(what)
            return f"paid {what}"

    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Doing())
        handle = await runtime.submit("Doing", {"text": "x"})
        assert (await outcome_of(handle)).receipt == "paid xm"
        before = await events_of(handle)
        assert (await handle.replay()).receipt == "paid xm"
        assert (len(lm.questions), done) == (1, ["xm"])
        assert await events_of(handle) == before


async def test_a_dry_replay_tells_of_steps_that_have_no_outcome(tmp_path: Path) -> None:
    lm = Asked(held=lambda text: text.startswith("n2"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await lm.until_asked(3)
        await events_until(handle, "step", 2)  # what is not on disk yet is not replayed
        with pytest.raises(RunReplayIncomplete, match=r"steps\[2\]: the journal has no outcome"):
            await handle.replay()
        lm.release.set()
        assert (await outcome_of(handle)).answer == "x1234"


async def test_a_dry_replay_finds_that_the_program_has_changed(tmp_path: Path) -> None:
    class Longer(Chain):
        async def forward(self, n0: str) -> rp.Prediction:
            first = await self.steps[0](n0=n0)
            return rp.Prediction(answer=first.n1)

    class Other(Chain):
        async def forward(self, n0: str) -> rp.Prediction:
            first = await self.steps[0](n0=n0 + "!")
            return rp.Prediction(answer=first.n1)

    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await outcome_of(handle)
    for changed, error in ((Longer(), ProgramChanged), (Other(), RunReplayIncomplete)):
        async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
            await runtime.start(changed, name="Chain")
            handle = await runtime.find_run(handle.id)
            with pytest.raises(error):
                await handle.replay()


async def test_a_dry_replay_shows_the_recorded_failure(tmp_path: Path) -> None:
    async with Runtime(lm=Asked(Refusing("n2")), store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await failure_of(handle)
        with pytest.raises(LMRequestRejected):
            await handle.replay()


# --- fork ---


@pytest.mark.parametrize("step", range(5))
async def test_a_fork_has_the_first_steps_and_does_the_rest(tmp_path: Path, step: int) -> None:
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"}, tags={"team": "a"})
        await outcome_of(handle)
        lm.questions.clear()
        fork = await handle.fork(step)
        assert (await outcome_of(fork)).answer == "x1234"
        assert fields_asked(lm) == [f"n{number}" for number in range(step, 4)]
        status = await fork.status()
        assert (status.status, status.parent, status.inputs) == ("ok", handle.id, {"n0": "x"})
        assert status.tags == {"team": "a"}
        assert fork.durable
        assert (fork.id, fork.key) != (handle.id, handle.key)


async def test_a_fork_with_other_inputs_does_anew_what_depends_on_them(tmp_path: Path) -> None:
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await outcome_of(handle)
        lm.questions.clear()
        fork = await handle.fork(2, inputs={"n0": "y"})
        assert (await outcome_of(fork)).answer == "y1234"
        assert fields_asked(lm) == ["n0", "n1", "n2", "n3"]
        with pytest.raises(InputError):
            await handle.fork(2, inputs={"n9": "y"})


async def test_a_fork_with_other_parameters_uses_them_in_what_it_does_itself(tmp_path: Path) -> None:
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        chain = await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await outcome_of(handle)
        lm.requests.clear()
        hotter = {f"steps[{number}]": rp.Parameters(temperature=0.9) for number in (1, 3)}
        fork = await handle.fork(2, inputs={"n0": "y"}, parameters=hotter)
        assert (await outcome_of(fork)).answer == "y1234"
        assert [request.temperature for request in lm.requests] == [None, 0.9, None, 0.9]
        lm.requests.clear()
        await outcome_of(await runtime.submit("Chain", {"n0": "x"}))
        assert {request.temperature for request in lm.requests} == {None}
        assert chain.parameters()["steps[1]"].temperature is None


async def test_a_forks_own_parameters_hold_after_a_restart(tmp_path: Path) -> None:
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await outcome_of(handle)
    lm = Asked(held=lambda _: True)
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.find_run(handle.id)
        fork = await handle.fork(1, parameters={"steps[2]": rp.Parameters(temperature=0.9)})
        await lm.until_asked()
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        fork = await runtime.find_run(fork.id)
        assert (await outcome_of(fork)).answer == "x1234"
    assert [request.temperature for request in lm.requests] == [None, 0.9, None]


async def test_a_fork_whose_process_dies_while_it_inherits_steps_gets_the_rest_from_the_next(
    tmp_path: Path,
) -> None:
    store = tmp_path / "s.db"
    async with Runtime(lm=Asked(), store=store) as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await outcome_of(handle)
    lm = Asked(held=lambda _: True)
    hotter = {"steps[2]": rp.Parameters(temperature=0.9)}
    async with Runtime(lm=lm, store=store) as runtime:
        await runtime.start(Chain())
        fork = await (await runtime.find_run(handle.id)).fork(2, parameters=hotter)
        await lm.until_asked()
    with closing(sqlite3.connect(store)) as connection:  # as it is while the second step is being copied
        connection.execute("delete from run_events where run_id = ? and id > 2", (fork.id,))
        connection.commit()
    lm = Asked()
    async with Runtime(lm=lm, store=store) as runtime:
        await runtime.start(Chain())
        fork = await runtime.find_run(fork.id)
        assert (await outcome_of(fork)).answer == "x1234"
        assert [event.id for event in await events_of(fork)] == list(range(1, 1 + len(await events_of(fork))))
    assert fields_asked(lm) == ["n2", "n3"]
    assert [request.temperature for request in lm.requests] == [0.9, None]


async def test_who_is_cancelled_while_forking_loses_the_handle_and_not_the_run(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    lm = Asked()
    async with Runtime(lm=lm, store=store) as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"})
        await outcome_of(handle)
        with held(store):
            forking = asyncio.create_task(handle.fork(2, key="fork"))
            for _ in range(100_000):
                if runtime.runs.executed.executes(run_id("Chain", "fork")):
                    break
                await asyncio.sleep(0)
            forking.cancel()
        await asyncio.wait({forking})
    async with Runtime(lm=lm, store=store) as runtime:
        await runtime.start(Chain())
        (fork,) = [each for each in await runtime.runs.latest(None, None, 10) if each.parent is not None]
        assert (await outcome_of(await runtime.find_run(fork.id))).answer == "x1234"


async def test_a_fork_that_cannot_be_is_refused_with_what_there_is(tmp_path: Path) -> None:
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        await runtime.start(Chain())
        handle = await runtime.submit("Chain", {"n0": "x"}, key="k")
        await outcome_of(handle)
        with pytest.raises(ProgramError, match="the run has 4 steps"):
            await handle.fork(5)
        with pytest.raises(ProgramError, match=r"(?s)no predictor 'steps\[9\]'.*steps\[0\]"):
            await handle.fork(1, parameters={"steps[9]": rp.Parameters()})
        with pytest.raises(ProgramError, match="wants the language model 'big'"):
            await handle.fork(1, parameters={"steps[2]": rp.Parameters(lm="big")})
        with pytest.raises(KeyReused, match="a run with the key 'k'"):
            await handle.fork(1, key="k")
        assert len(await runtime.runs.latest(None, None, 10)) == 1


# --- deadline, terms ---


async def test_the_time_a_run_may_take_goes_on_while_nobody_executes_it(tmp_path: Path) -> None:
    store = tmp_path / "s.db"
    lm = Asked(held=lambda text: text.startswith("middle"))
    clock = FakeClock()
    async with Runtime(lm=lm, store=store, clock=clock) as runtime:
        await runtime.start(Two())
        early = await runtime.submit("Two", {"text": "x"}, timeout=100)
        late = await runtime.submit("Two", {"text": "y"}, timeout=10)
        endless = await runtime.submit("Two", {"text": "z"})
        await lm.until_asked(6)
    lm = Asked()
    later = FakeClock(monotonic=5.0, time=clock.time() + 30)
    async with Runtime(lm=lm, store=store, clock=later) as runtime:
        await runtime.start(Two())
        early, late, endless = [await runtime.find_run(each.id) for each in (early, late, endless)]
        assert (await outcome_of(early)).answer == "xma"
        assert (await outcome_of(endless)).answer == "zma"
        assert isinstance(await failure_of(late), DeadlineExceeded)
        assert (await late.status()).status == "failed"
    deadlines = {question(request): request.deadline for request in lm.requests}
    assert deadlines["middle: xm"] == later.monotonic() + 70
    assert set(deadlines) == {"middle: xm", "middle: zm"}


@pytest.mark.parametrize(("timeout", "ends"), [(None, None), (50, 80)])
async def test_a_run_that_was_too_slow_gets_new_time_when_it_is_retried(
    tmp_path: Path, timeout: float | None, ends: float | None
) -> None:
    clock = FakeClock()
    lm = Asked(held=lambda text: text.startswith("middle"))
    async with Runtime(lm=lm, store=tmp_path / "s.db", clock=clock) as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"}, timeout=10)
        await lm.until_asked(2)
    later = FakeClock(time=clock.time() + 30)
    async with Runtime(lm=Asked(), store=tmp_path / "s.db", clock=later) as runtime:
        await runtime.start(Two())
        handle = await runtime.find_run(handle.id)
        late = await failure_of(handle)
        assert isinstance(late, DeadlineExceeded)
        assert "its time was over" in str(late)
        await handle.retry(timeout=timeout)
        assert (await outcome_of(handle)).answer == "xma"
        stored = await runtime.runs.executed.stored(handle.id)
        assert stored.deadline_at == (None if ends is None else clock.time() + ends)


async def test_a_fork_of_a_run_that_was_too_slow_has_time_of_its_own(tmp_path: Path) -> None:
    clock = FakeClock()
    lm = Asked(held=lambda text: text.startswith("middle"))
    async with Runtime(lm=lm, store=tmp_path / "s.db", clock=clock) as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"}, timeout=10)
        await lm.until_asked(2)
    later = FakeClock(time=clock.time() + 30)
    async with Runtime(lm=Asked(), store=tmp_path / "s.db", clock=later) as runtime:
        await runtime.start(Two())
        handle = await runtime.find_run(handle.id)
        assert isinstance(await failure_of(handle), DeadlineExceeded)
        assert (await outcome_of(await handle.fork(1))).answer == "xma"


async def test_terms_and_tags_hold_after_a_restart(tmp_path: Path) -> None:
    terms = rp.Terms(caller="tenant", priority="batch", sticky="s", accounts=("team",), cache="refresh")
    lm = Asked(held=lambda text: text.startswith("middle"))
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"}, terms=terms, tags={"team": "a"})
        await lm.until_asked(2)
    lm = Asked()
    async with Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        await outcome_of(await runtime.find_run(handle.id))
        assert (await runtime.runs.status(handle.id)).tags == {"team": "a"}
    assert [request.terms for request in lm.requests] == [terms]


async def test_accounts_pay_after_a_restart_too(tmp_path: Path) -> None:
    stuck = True

    def script(seen: Seen) -> Step:
        return Hang() if stuck and field_and_value(seen)[0] == "middle" else reply_to(seen)

    async def spent(runtime: Runtime) -> int:
        return (await runtime.ledger.balance("team")).spent.tokens or 0

    async with ScriptedEndpoint(script) as server:
        async with runtime_for(server, tmp_path / "s.db") as runtime:
            await runtime.ledger.limit("team", AccountLimit.of(tokens=1_000_000))
            await runtime.start(Two(max_tokens=50))
            handle = await runtime.submit("Two", {"text": "x"}, terms=rp.Terms(accounts=("team",)))
            await requests_seen(server, 2)
        stuck = False
        async with runtime_for(server, tmp_path / "s.db") as runtime:
            before = await spent(runtime)
            await runtime.start(Two(max_tokens=50))
            await outcome_of(await runtime.find_run(handle.id))
            assert await spent(runtime) == before + 11 + 7  # what an answer of the endpoint says it used


async def test_what_is_asked_of_a_run_that_is_gone_says_so(tmp_path: Path) -> None:
    async with Runtime(lm=Asked(), store=tmp_path / "s.db") as runtime:
        await runtime.start(Two())
        handle = await runtime.submit("Two", {"text": "x"})
        await outcome_of(handle)
    async with Runtime(lm=Asked(), store=tmp_path / "other.db") as runtime:
        await runtime.start(Two())
        gone = type(handle)(runtime.runs, handle.id, "Two", handle.key, durable=True)
        asked: list[Any] = [gone.status, gone.steps, gone.result, gone.cancel, gone.retry, gone.replay, gone.fork]
        for ask in asked:
            with pytest.raises(RunUnknown):
                await ask()
        with pytest.raises(RunUnknown):
            await events_of(gone)
