"""A runtime's life: what it starts it also ends, and whoever waits is told why."""

import asyncio
from pathlib import Path
from typing import NoReturn

import pytest

import repertory as rp
from repertory.errors import (
    ActorDown,
    ConfigError,
    InjectedCrash,
    NameTaken,
    ProgramError,
    RestartLimitReached,
    RuntimeClosed,
)
from repertory.events import ActorRestarted, RunFinished, SupervisorGaveUp
from repertory.providers.messages import LMRequest, LMResponse, SchemaDialect, Usage
from repertory.runtime.runtime import Runtime
from repertory.testing import ScriptedLM
from tests.endpoint import Hang, Hold, ScriptedEndpoint
from tests.runtime.programs import Collected, Two, config_for, reply_to, requests_seen, runtime_for


def other_tasks() -> set["asyncio.Task[object]"]:
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def test_nothing_is_left_after_the_end(tmp_path: Path) -> None:
    async with ScriptedEndpoint(reply_to) as server:
        before = other_tasks()
        async with runtime_for(server, tmp_path / "s.db") as runtime:
            two = await runtime.start(Two(), replicas=3)
            assert (await two(text="x")).answer == "amx"
            assert runtime.obstacles() == []
            assert len(other_tasks()) > len(before)
        assert runtime.obstacles() == ["the runtime takes no new work"]
        with pytest.raises(RuntimeClosed, match="takes no new work"):
            await two(text="x")
        with pytest.raises(RuntimeClosed):
            await runtime.start(Two(), name="again")
    assert {task for task in other_tasks() - before if not task.done()} == set()


async def test_closing_ends_runs_under_way_and_says_so(tmp_path: Path) -> None:
    told = Collected()
    async with ScriptedEndpoint(lambda _: Hang()) as server:
        async with runtime_for(server, tmp_path / "s.db", hooks=[told]) as runtime:
            two = await runtime.start(Two(), replicas=2)
            runs = [asyncio.create_task(two.run({"text": str(number)})) for number in range(5)]
            await requests_seen(server, 5)
        for run in runs:
            with pytest.raises(RuntimeClosed, match="the runtime was closed during the run"):
                await run
        await server.client_left.wait()
        assert len(server.requests) == 5  # none was given to the other replica on the way out
        assert {event.error for event in told.of(RunFinished)} == {"runtime_closed"}


async def test_draining_waits_and_refuses(tmp_path: Path) -> None:
    release = asyncio.Event()
    async with (
        ScriptedEndpoint(lambda seen: Hold(release, reply_to(seen))) as server,  # type: ignore[arg-type]  # no Hang here
        runtime_for(server) as runtime,
    ):
        two = await runtime.start(Two())
        run = asyncio.create_task(two(text="x"))
        await requests_seen(server, 1)
        assert not await runtime.drain(timeout=0)
        with pytest.raises(RuntimeClosed):
            await two(text="y")
        draining = asyncio.create_task(runtime.drain(timeout=60))
        release.set()
        assert await draining
        assert run.done()
        assert run.result().answer == "amx"


async def test_a_failed_start_leaves_nothing(tmp_path: Path) -> None:
    before = other_tasks()
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"no database" * 1000)
    async with ScriptedEndpoint(reply_to) as server:
        config = config_for(server)
        for runtime in (
            Runtime(config, store=garbage),
            Runtime(config, store=tmp_path),
            Runtime(lm="vertex/x", store=tmp_path / "a.db"),
            Runtime(lm={"default": "local/nowhere.gguf"}, store=tmp_path / "b.db"),
        ):
            with pytest.raises(ConfigError):
                async with runtime:
                    pytest.fail("it started")
    assert {task for task in other_tasks() - before if not task.done()} == set()


async def test_programs_have_names_of_their_own() -> None:
    async with ScriptedEndpoint(reply_to) as server, runtime_for(server) as runtime:
        first, second = await runtime.start(Two()), await runtime.start(Two(), name="second")
        assert [(await program(text="x")).answer for program in (first, second)] == ["amx", "amx"]
        with pytest.raises(NameTaken, match="'Two' is running already"):
            await runtime.start(Two())
        await runtime.stop(first)
        with pytest.raises(ActorDown):
            await first(text="x")
        assert (await second(text="x")).answer == "amx"
        assert (await (await runtime.start(Two()))(text="x")).answer == "amx"


async def test_what_cannot_be_started() -> None:
    class Bare(rp.Module):
        async def forward(self, text: str) -> rp.Prediction:
            return rp.Prediction(text=text)

    async with Runtime(store=None) as runtime:
        with pytest.raises(ProgramError, match="Bare holds no predictor"):
            await runtime.start(Bare())
        with pytest.raises(ProgramError, match=r"first wants the language model 'default'\n  There is none"):
            await runtime.start(Two())
        assert runtime.deployments == {}


async def test_a_predictor_made_on_the_way_is_refused() -> None:
    class Late(rp.Module):
        def __init__(self) -> None:
            self.ask = rp.Predict("text -> middle")

        async def forward(self, text: str) -> rp.Prediction:
            return await rp.Predict("text -> middle")(text=text)

    async with ScriptedEndpoint(reply_to) as server, runtime_for(server) as runtime:
        late = await runtime.start(Late())
        with pytest.raises(ProgramError, match="was not there when the program started"):
            await late(text="x")


async def test_a_tree_that_gives_up_says_why() -> None:
    told = Collected()
    async with ScriptedEndpoint(lambda _: Hang()) as server, runtime_for(server, hooks=[told]) as runtime:
        two = await runtime.start(Two())
        run = asyncio.create_task(two(text="x"))
        await requests_seen(server, 1)
        failing = asyncio.create_task(runtime.failure())
        for life in range(1, 7):
            runtime.system.ref("root/programs").kill(InjectedCrash("again and again"))
            if life < 6:
                await told.until(ActorRestarted, life)
        assert (await told.until(SupervisorGaveUp)).path == "root"
        with pytest.raises((RuntimeClosed, ActorDown)):
            await run
        async with asyncio.timeout(60):
            failure = await failing
        assert isinstance(failure, RestartLimitReached)
        assert runtime.obstacles() == ["the runtime takes no new work"]
        with pytest.raises(RuntimeClosed, match="the supervision tree has given up") as caught:
            await two(text="y")
        assert caught.value.__cause__ is failure
        assert isinstance(failure.__cause__, InjectedCrash)


async def test_a_run_in_flight_when_the_tree_gives_up_is_told_why() -> None:
    told = Collected()
    async with ScriptedEndpoint(lambda _: Hang()) as server, runtime_for(server, hooks=[told]) as runtime:
        two = await runtime.start(Two())
        for life in range(1, 6):
            runtime.system.ref("root/models").kill(InjectedCrash("again"))
            await told.until(ActorRestarted, life)
        run = asyncio.create_task(two(text="x"))
        await requests_seen(server, 1)
        runtime.system.ref("root/models").kill(InjectedCrash("once too often"))
        with pytest.raises(RuntimeClosed, match="the supervision tree has given up") as caught:
            await run
        assert isinstance(caught.value.__cause__, RestartLimitReached)


async def test_programs_come_back_with_their_supervisor() -> None:
    told = Collected()
    async with ScriptedEndpoint(reply_to) as server, runtime_for(server, hooks=[told]) as runtime:
        two = await runtime.start(Two())
        runtime.system.ref("root/programs").kill(InjectedCrash("once"))
        await told.until(ActorRestarted)
        assert (await two(text="x")).answer == "amx"


async def test_a_crash_of_a_worker_is_not_the_runs_concern() -> None:
    told = Collected()
    release = asyncio.Event()
    async with (
        ScriptedEndpoint(lambda seen: Hold(release, reply_to(seen))) as server,  # type: ignore[arg-type]  # no Hang here
        runtime_for(server, hooks=[told]) as runtime,
    ):
        two = await runtime.start(Two())
        run = asyncio.create_task(two(text="x"))
        await requests_seen(server, 1)
        two.busiest_worker().kill(InjectedCrash("on purpose"))
        await told.until(ActorRestarted)
        await requests_seen(server, 1)
        release.set()
        assert (await run).answer == "amx"
        assert server.disconnects == 1  # the first life's request was let go of


async def test_a_worker_that_crashes_each_time_fails_the_run_after_three() -> None:
    told = Collected()
    async with ScriptedEndpoint(lambda _: Hang()) as server, runtime_for(server, hooks=[told]) as runtime:
        two = await runtime.start(Two())
        run = asyncio.create_task(two(text="x"))
        for _ in range(3):
            await requests_seen(server, 1)
            two.busiest_worker().kill(InjectedCrash("on purpose"))
        with pytest.raises(ActorDown) as caught:
            await run
        assert isinstance(caught.value.__cause__, InjectedCrash)
        assert len(server.requests) == 3


async def test_a_model_with_a_bug_fails_the_run_not_the_runtime() -> None:
    class Buggy:
        name = "buggy"
        schema_dialect: SchemaDialect | None = "json_schema"

        async def complete(self, request: LMRequest) -> LMResponse:
            if "good" in request.messages[-1].text:
                return LMResponse('{"answer": "a"}', "stop", Usage(), "m", "id")
            raise ZeroDivisionError("a bug")

        def stream(self, request: LMRequest) -> NoReturn:
            pytest.fail("nobody asked for a stream")

        async def close(self) -> None:
            pytest.fail("the caller's own model was closed")

    async with Runtime(lm=Buggy(), store=None) as runtime:
        ask = await runtime.start(rp.Predict("text -> answer"))
        with pytest.raises(ProgramError, match="ZeroDivisionError: a bug") as caught:
            await ask(text="bad")
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert (await ask(text="good")).answer == "a"


async def test_models_by_name_and_by_predictor() -> None:
    small, big, own = (ScriptedLM(lambda request: '{"b": "x"}', name=name) for name in ("small", "big", "own"))

    class Mixed(rp.Module):
        def __init__(self) -> None:
            self.one = rp.Predict("a -> b")
            self.two = rp.Predict("a -> b", lm="big")
            self.three = rp.Predict("a -> b", lm=own)

        async def forward(self, a: str) -> rp.Prediction:
            for ask in (self.one, self.two, self.three):
                last = await ask(a=a)
            return last

    async with Runtime(lm={"default": small, "big": big}, store=None) as runtime:
        await (await runtime.start(Mixed()))(a="x")
    assert [len(lm.requests) for lm in (small, big, own)] == [1, 1, 1]
    assert not any(lm.closed for lm in (small, big, own))
