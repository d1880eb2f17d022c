"""Calls of runs that fail are paid for too: they are counted, or listed, by the time the run has its outcome."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest

import repertory as rp
from repertory.errors import ReplyError
from repertory.runtime.config import make_config
from repertory.runtime.run_handle import RunHandle
from repertory.runtime.run_log import RunEvent
from repertory.runtime.runtime import Runtime
from tests.faulty.billing import BillingServer, Manner
from tests.faulty.dialects import OPENAI
from tests.faulty.server import Act, Hold, Request, Send

COST = Decimal("0.000025")  # of a scripted reply: 11 tokens read, 7 written


class Pair(rp.Module):
    """A step that fails, and one beside it that takes for ever."""

    def __init__(self) -> None:
        self.fails = rp.Predict("text -> wrong: int", corrections=1, max_tokens=9)
        self.hangs = rp.Predict("text -> slow", max_tokens=9)

    async def forward(self, text: str) -> rp.Prediction:
        fails, hangs = self.fails(text=text), self.hangs(text=text)
        await fails
        return await hangs


class Site:
    """A server that keeps the slow step waiting, and lets the other one fail once both have begun."""

    def __init__(self, store: Path) -> None:
        self.both = asyncio.Event()
        self.server = BillingServer(OPENAI, lambda _: '{"wrong": "x"}', self._manner)
        self.store = store

    def runtime(self) -> Runtime:
        lm = {"model": "openai/x", "base_url": self.server.url, "api_key_env": "", "attempts": 1}
        config = make_config("the test", {"lm": {"default": {**lm, "price": {"input": 1, "output": 2}}}})
        return Runtime(config, store=self.store)

    def _manner(self, number: int) -> Manner:
        if number == 2:
            self.both.set()
        slow = "slow" in json.dumps(self.server.server.requests[-1].body)
        wait: tuple[Act, ...] = (Hold(),) if slow else (Hold(self.both),)
        return Manner(play=lambda good: (*wait, Send(good)))


async def events_of(handle: RunHandle) -> list[RunEvent]:
    return [event async for event in handle.events()]


async def test_a_call_that_is_cut_off_by_a_siblings_failure_is_listed_when_the_run_ends(tmp_path: Path) -> None:
    site = Site(tmp_path / "runs.db")
    async with site.server, site.runtime() as runtime:
        await runtime.start(Pair(), name="p")
        handle = await runtime.submit("p", {"text": "x"})
        with pytest.raises(ReplyError):
            await handle.result(timeout=60)
        status = await handle.status()
        assert (status.uncertain_calls, status.cost) == (1, 2 * COST)
        (listed,) = await runtime.runs.uncertain(handle.id, 10)
        events = await events_of(handle)
        assert [event.id for event in events if event.data.get("step") == "hangs"][:1] == [listed.event_id]
        assert [event.kind for event in events].index("done") == len(events) - 1


async def test_what_a_failed_step_has_paid_is_counted_once_though_it_is_tried_again(tmp_path: Path) -> None:
    def words(request: Request) -> str:
        return '{"wrong": "x"}' if len(server.asked) < 2 else '{"wrong": 3}'

    site = Site(tmp_path / "runs.db")
    server = site.server = BillingServer(OPENAI, words)
    async with server, site.runtime() as runtime:
        await runtime.start(rp.Predict("text -> wrong: int", corrections=1, max_tokens=9), name="p")
        handle = await runtime.submit("p", {"text": "x"})
        with pytest.raises(ReplyError):
            await handle.result(timeout=60)
        assert (await handle.status()).cost == 2 * COST
        await handle.retry()
        assert (await handle.result(timeout=60)).wrong == 3
        status = await handle.status()
        assert status.cost == COST * len(server.asked)
        assert len({asked.key for asked in server.asked}) == len(server.asked)
        assert [step.cost for step in await handle.steps()] == [2 * COST, status.cost]
