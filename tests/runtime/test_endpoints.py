"""What the configuration makes of language models: budgets, a cache, routes, and circuits that are remembered."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import repertory as rp
from repertory.errors import BudgetExceeded, CircuitOpen, ConfigError, LMServerError
from repertory.events import CircuitChanged, EndpointProbed, FellBack
from repertory.providers.messages import Usage
from repertory.runtime.config import RuntimeConfig, make_config
from repertory.runtime.runtime import Runtime
from repertory.testing import FakeClock
from tests.endpoint import Reply, ScriptedEndpoint, Seen, Status, Step
from tests.runtime.programs import Collected

PRICE = {"input": "1000", "output": "1000"}  # dollars per million tokens: a thousandth of a dollar each


def lm(server: ScriptedEndpoint, **more: Any) -> dict[str, Any]:
    return {"model": "compatible/m", "base_url": server.url, "attempts": 1, **more}


def config(**tables: Any) -> RuntimeConfig:
    return make_config("the test", tables)


def answering(seen: Seen) -> Step:
    return Reply(json.dumps({"answer": "Paris"}))


def failing(seen: Seen) -> Step:
    return Status(500)


QUESTION = "question -> answer"


async def test_the_global_account_pays_for_every_call_and_a_run_names_others() -> None:
    async with ScriptedEndpoint(answering) as server:
        budgets = {"global": {"dollars": "100"}, "tenant:acme": {"tokens": 100_000}}
        settings = config(lm={"default": lm(server, price=PRICE)}, budgets=budgets)
        async with Runtime(settings, store=None) as runtime:
            ask = await runtime.start(rp.Predict(QUESTION, max_tokens=50))
            await ask.run({"question": "?"}, terms=rp.Terms(accounts=("tenant:acme",)))
            await ask(question="?")
            everybodys = await runtime.ledger.balance("global")
            acmes = await runtime.ledger.balance("tenant:acme")
    assert everybodys.spent.dollars == 2 * Decimal("0.018")  # 11 tokens read and 7 written, each time
    assert (everybodys.reservations, acmes.spent.tokens) == (0, 18)


async def test_what_a_budget_cannot_pay_for_is_not_asked() -> None:
    async with ScriptedEndpoint(answering) as server:
        settings = config(lm={"default": lm(server, price=PRICE)}, budgets={"global": {"dollars": "0.01"}})
        async with Runtime(settings, store=None) as runtime:
            ask = await runtime.start(rp.Predict(QUESTION, max_tokens=50))
            with pytest.raises(BudgetExceeded, match="'global'"):
                await ask(question="?")
    assert server.requests == []


async def test_what_was_spent_is_remembered_by_the_store(tmp_path: Path) -> None:
    async with ScriptedEndpoint(answering) as server:
        settings = config(lm={"default": lm(server, price=PRICE)}, budgets={"global": {"dollars": "10"}})
        for _ in range(2):
            async with Runtime(settings, store=tmp_path / "s.db") as runtime:
                ask = await runtime.start(rp.Predict(QUESTION, max_tokens=50))
                await ask(question="?")
        async with Runtime(settings, store=tmp_path / "s.db") as runtime:
            assert (await runtime.ledger.balance("global")).spent.dollars == 2 * Decimal("0.018")


@pytest.mark.parametrize("stored", [False, True])
async def test_an_answer_is_given_again_if_the_cache_is_on(tmp_path: Path, stored: bool) -> None:
    async with ScriptedEndpoint(answering) as server:
        settings = config(lm={"default": lm(server)}, cache={"enabled": True, "stored": stored})
        for _ in range(2):
            async with Runtime(settings, store=tmp_path / "s.db") as runtime:
                ask = await runtime.start(rp.Predict(QUESTION))
                first = await ask(question="?")
                again = await ask(question="?")
                await ask.run({"question": "?"}, terms=rp.Terms(rollout="2"))
            assert (first.answer, again.answer) == ("Paris", "Paris")
            assert again.usage == Usage(11, 7, 3)
    assert len(server.requests) == (2 if stored else 4)


async def test_a_route_is_asked_as_a_model_is() -> None:
    told = Collected()
    async with ScriptedEndpoint(failing) as bad, ScriptedEndpoint(answering) as good:
        settings = config(lm={"bad": lm(bad), "good": lm(good)}, route={"default": {"of": ["bad", "good"]}})
        async with Runtime(settings, store=None, hooks=[told]) as runtime:
            ask = await runtime.start(rp.Predict(QUESTION))
            assert (await ask(question="?")).answer == "Paris"
    assert told.of(FellBack) == [FellBack("default", "bad", "good", "lm_server_error")]


@pytest.mark.parametrize(
    ("route", "said"),
    [
        ({"of": ["nobody"]}, "route.r.of: there is no language model 'nobody'"),
        ({"of": ["default", "default"]}, "route.r: "),
        ({"of": ["default"], "weights": {"default": 1}}, "route.r: weights are given, but policy = 'fallback'"),
        ({"of": ["default"], "policy": "weighted", "weights": {"x": 1}}, r"route.r: Weighted: weights\['x'\]"),
    ],
)
async def test_a_route_that_cannot_be_is_named(route: dict[str, Any], said: str) -> None:
    async with ScriptedEndpoint(answering) as server:
        settings = config(lm={"default": lm(server)}, route={"r": route})
        with pytest.raises(ConfigError, match=said):
            async with Runtime(settings, store=None):
                pass


async def test_a_model_and_a_route_cannot_have_one_name() -> None:
    async with ScriptedEndpoint(answering) as server:
        settings = config(lm={"default": lm(server)}, route={"default": {"of": ["default"]}})
        with pytest.raises(ConfigError, match=r"route\.default: there is a language model of this name"):
            async with Runtime(settings, store=None):
                pass


async def open_circuit(runtime: Runtime) -> None:
    ask = await runtime.start(rp.Predict(QUESTION))
    for _ in range(5):
        with pytest.raises(LMServerError):
            await ask(question="?")
    with pytest.raises(CircuitOpen):
        await ask(question="?")


async def let_the_keeper_look(clock: FakeClock) -> None:
    """Move the clock to the keeper's next look."""
    await clock.until_asleep()
    clock.advance(1)


async def test_an_open_circuit_outlives_the_process(tmp_path: Path) -> None:
    slow = {"open_seconds": 300.0, "open_seconds_cap": 300.0}
    async with ScriptedEndpoint(failing) as server:
        settings = config(lm={"default": lm(server, breaker=slow)})
        clock = FakeClock()
        async with Runtime(settings, store=tmp_path / "s.db", clock=clock) as runtime:
            await open_circuit(runtime)
            await let_the_keeper_look(clock)
            await clock.until_asleep()  # the next look: what the last one saw is on disk
        asked = len(server.requests)
        async with Runtime(settings, store=tmp_path / "s.db", clock=FakeClock()) as runtime:
            (endpoint,) = runtime.endpoints()
            assert endpoint.circuit.state == "open"
            assert endpoint.health.state == "down"
            assert runtime.obstacles() == ["the circuit of the language model 'default' is open"]
            ask = await runtime.start(rp.Predict(QUESTION), name="again")
            with pytest.raises(CircuitOpen):
                await ask(question="?")
        assert len(server.requests) == asked


async def test_an_endpoint_that_answers_again_is_called_before_its_interval_is_over() -> None:
    told = Collected()
    well = asyncio.Event()

    def scripted(seen: Seen) -> Step:
        return answering(seen) if well.is_set() else failing(seen)

    slow = {"open_seconds": 300.0, "open_seconds_cap": 300.0}
    async with ScriptedEndpoint(scripted) as server:
        settings = config(lm={"default": lm(server, breaker=slow)})
        clock = FakeClock()
        async with Runtime(settings, store=None, clock=clock, hooks=[told]) as runtime:
            await open_circuit(runtime)
            await let_the_keeper_look(clock)
            assert (await told.until(EndpointProbed)).error == "lm_server_error"
            well.set()
            for _ in range(5):
                await let_the_keeper_look(clock)
            # It has no list of models, but it answers.
            assert (await told.until(EndpointProbed, 2)).error is None
            ask = await runtime.start(rp.Predict(QUESTION), name="again")
            assert (await ask(question="?")).answer == "Paris"
    assert [event.after for event in told.of(CircuitChanged)] == ["open", "half_open", "closed"]


async def test_an_operator_forces_a_circuit_and_gives_it_back() -> None:
    async with (
        ScriptedEndpoint(answering) as server,
        Runtime(config(lm={"default": lm(server)}), store=None) as runtime,
    ):
        ask = await runtime.start(rp.Predict(QUESTION))
        runtime.force_circuit("default", "open")
        with pytest.raises(CircuitOpen, match="an operator forced its circuit open"):
            await ask(question="?")
        assert runtime.endpoints()[0].health.reasons == ("an operator forced it open",)
        runtime.force_circuit("default", None)
        assert (await ask(question="?")).answer == "Paris"
        with pytest.raises(ConfigError, match="there is no endpoint 'spare'"):
            runtime.force_circuit("spare", "open")
