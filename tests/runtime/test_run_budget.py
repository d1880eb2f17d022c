"""A run pays for itself, up to what it may spend."""

from pathlib import Path

import pytest

import repertory as rp
from repertory.errors import BudgetExceeded, ConfigError
from repertory.runtime.run_budget import account_of
from tests.endpoint import Reply, ScriptedEndpoint
from tests.runtime.programs import Two, runtime_for


def answering() -> ScriptedEndpoint:
    return ScriptedEndpoint(lambda _: Reply('{"middle": "m", "answer": "a"}'))


async def test_a_run_stops_before_the_call_that_could_cost_more_than_is_left(tmp_path: Path) -> None:
    async with answering() as server, runtime_for(server, tmp_path / "s.db", budget={"max_tokens": 50}) as runtime:
        two = await runtime.start(Two())
        with pytest.raises(BudgetExceeded):
            await two.run({"text": "x"}, key="k", budget=rp.RunBudget(tokens=60))
        assert server.requests == []


async def test_what_is_left_of_a_failed_run_is_there_when_it_is_tried_again(tmp_path: Path) -> None:
    async with answering() as server, runtime_for(server, tmp_path / "s.db", budget={"max_tokens": 50}) as runtime:
        two = await runtime.start(Two())
        handle = await runtime.submit(two, {"text": "x"}, key="k", budget=rp.RunBudget(tokens=100_000))
        assert (await handle.result(timeout=30)).answer == "a"
        # It ended well: nobody needs its account any more.
        with pytest.raises(ConfigError):
            await runtime.ledger.balance(account_of(handle.id))


@pytest.mark.parametrize("wrong", [{}, {"tokens": -1}, {"dollars": -0.5}])
def test_a_budget_that_limits_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        rp.RunBudget(**wrong)  # type: ignore[arg-type]  # that is the point
