"""Many witnessed calls at a server that fails at random: record, budget and the server's own bill agree."""

import asyncio
from collections import Counter
from decimal import Decimal
from random import Random

import pytest

from repertory.events import BudgetCharged, LMCallFinished
from repertory.providers.budget import TOLD, BudgetSettings
from repertory.providers.messages import LMRequest, Message, Terms
from repertory.providers.prices import Price
from repertory.providers.witness import Intent
from repertory.store import AccountLimit
from repertory.store.ledger import in_dollars
from tests.faulty.dialects import DIALECTS
from tests.providers.recorder import Entry, Recorder
from tests.providers.test_fault_soak import Soak


class WitnessedSoak(Soak):
    """The same calls, each with a witness that takes its time to write, and an account that pays."""

    budget = BudgetSettings(price=Price.flat(input=Decimal(1), output=Decimal(4)))

    def __init__(self, name: str, seed: int) -> None:
        super().__init__(DIALECTS[name], seed, adaptive=False)
        self._disk = Random(seed + 2)
        self._recorders: list[Recorder] = []

    def request(self, text: str, deadline: float) -> LMRequest:
        recorder = Recorder(self._write)
        self._recorders.append(recorder)
        terms = Terms(accounts=("team",))
        return LMRequest((Message("user", text),), max_tokens=50, deadline=deadline, terms=terms, witness=recorder)

    async def check(self, calls: int) -> None:
        await self.ledger.limit("team", AccountLimit())
        await self.run(calls)
        assert (await self.ledger.balance("team")).reservations == 0
        self._check_record([entry for recorder in self._recorders for entry in recorder.entries])

    async def _write(self, _: Intent) -> None:
        await asyncio.sleep(self._disk.choice((0, 0, 0.001)))

    def _check_record(self, entries: list[Entry]) -> None:
        told = {str(ending): each for ending, each in TOLD.items()}
        charged: Counter[str] = Counter()
        for event in self.events:
            if isinstance(event, BudgetCharged):
                charged[told[event.ending]] += event.nano_dollars
        assert all(entry.ending is not None for entry in entries)
        for ending in ("paid", "unpaid", "uncertain"):
            costs = sum((entry.cost or Decimal(0) for entry in entries if entry.ending == ending), Decimal(0))
            assert costs == in_dollars(charged[ending])
        endings = Counter(entry.ending for entry in entries)
        attempts = sum(isinstance(event, LMCallFinished) for event in self.events)
        assert attempts <= sum(entry.written for entry in entries)
        assert endings["paid"] == self.outcomes["reply"]
        assert endings["unpaid"] > 0
        # What the server has generated it bills, whoever was there to read it: all of that is in the record.
        assert self.weather.well <= endings["paid"] + endings["uncertain"]


@pytest.mark.parametrize("name", DIALECTS)
async def test_the_record_holds_all_that_is_billed_and_agrees_with_the_budget(name: str) -> None:
    await WitnessedSoak(name, seed=21).check(calls=150)


@pytest.mark.slow
@pytest.mark.parametrize("name", DIALECTS)
async def test_the_record_of_ten_thousand_calls_holds_all_that_is_billed(name: str) -> None:
    await WitnessedSoak(name, seed=22).check(calls=2_500)
