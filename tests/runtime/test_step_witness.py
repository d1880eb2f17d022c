"""What a step's witness makes of the lives before: their answers are read, their keys go to no other call."""

import asyncio
from decimal import Decimal

import pytest

from repertory.errors import CallUncertain
from repertory.providers.messages import LMResponse, TextPart, Usage
from repertory.providers.witness import Intent, Told
from repertory.runtime.history import RunHistory, StepKey
from repertory.runtime.run_log import RunLog
from repertory.runtime.step_witness import StepWitness, UncertainPolicy
from repertory.testing import FakeClock

COST = Decimal("0.000000005")
STEP = StepKey("self.rate", "hash", 0)


class Lives:
    """A step in one process after the other, which share a log."""

    def __init__(self, policy: UncertainPolicy = "rebuy") -> None:
        self.log = RunLog("run", FakeClock(), None)
        self.policy = policy

    def next(self) -> StepWitness:
        """Its witness in a new process."""
        return StepWitness(self.log, STEP, self.history(), self.policy)

    def history(self) -> RunHistory:
        return RunHistory.of(self.log.kept(0))


async def call(witness: StepWitness, ending: Told | None = None, said: str = "", endpoint: str = "a") -> str:
    """Make a call; return its key. Without an ``ending`` the process is killed while it is under way."""
    intent = Intent(witness.key(), 1, endpoint, "asked", 9, 3)
    await witness.intend(intent)
    if ending is not None:
        paid = ending == "paid"
        witness.settled(intent, ending, Usage(2, 1) if paid else Usage(), COST if paid else None)
    if said:
        witness.replied(LMResponse((TextPart(said),), "stop", Usage(2, 1), "m", "r-1"))
    return intent.key


def read(witness: StepWitness) -> list[str]:
    """The answers that are not to be asked for again."""
    answers = []
    while (answer := witness.recorded_reply()) is not None:
        answers.append(answer.text)
    return answers


async def test_a_call_that_was_cut_off_is_made_again_under_its_own_key() -> None:
    lives = Lives()
    assert len({await call(lives.next()) for _ in range(3)}) == 1


async def test_an_answer_is_read_once_in_each_life_that_comes_after() -> None:
    lives = Lives()
    first = lives.next()
    await call(first, "paid", "many")
    cut_off = await call(first)
    for _ in range(3):
        later = lives.next()
        assert read(later) == ["many"]
        assert await call(later) == cut_off


async def test_answers_of_several_lives_are_read_in_the_order_in_which_they_came() -> None:
    lives = Lives()
    for number in range(4):
        witness = lives.next()
        assert read(witness) == [str(earlier) for earlier in range(number)]
        await call(witness, "paid", str(number))
        await call(witness)  # which has the answer written down


async def test_an_actor_that_takes_the_step_over_asks_for_nothing_that_was_answered() -> None:
    witness = Lives().next()
    witness.begin()
    keys = [await call(witness, "paid", "many"), await call(witness, "uncertain")]
    witness.begin()
    assert read(witness) == ["many"]
    assert await call(witness, "paid", "3") not in keys


async def test_what_was_asked_of_another_endpoint_does_not_take_its_key() -> None:
    """A route went on to its second endpoint; what comes after that answer is another question."""
    lives = Lives()
    first = lives.next()
    keys = [await call(first, "unpaid", endpoint="a"), await call(first, "paid", "many", endpoint="b")]
    keys.append(await call(first))
    assert len(set(keys)) == 3
    second = lives.next()
    assert read(second) == ["many"]
    assert await call(second) == keys[-1]


async def test_a_call_that_was_paid_for_leaves_its_key_to_nobody() -> None:
    """The step failed after an answer that was of no use; who tries it again does not want the same once more."""
    lives = Lives()
    first = lives.next()
    useless = await call(first, "paid", "many")
    lives.log.append("step", {**_told(), "error": {"code": "x", "message": ""}, "settled": first.take_settled()})
    second = lives.next()
    assert second.nano_cost == 5
    assert await call(second) != useless


async def test_of_calls_beside_each_other_one_is_fetched_and_the_other_is_uncertain() -> None:
    """Both were under way, as of a hedged call."""
    lives = Lives()
    first = lives.next()
    intents = [Intent(first.key(), 1, endpoint, "asked", 9, 3) for endpoint in ("a", "b")]
    for intent in intents:
        await first.intend(intent)
        first.identified(intent, f"id-{intent.endpoint}")
    await asyncio.sleep(0)  # an id is told in the loop's next turn
    assert [each.endpoint for each in lives.history().unsettled()] == ["a"]
    fetchable = lives.next().open_call()
    assert fetchable is not None
    assert (fetchable.endpoint, fetchable.response_id) == ("b", "id-b")


async def test_a_call_that_is_known_can_be_fetched_though_another_one_is_not() -> None:
    lives = Lives()
    first = lives.next()
    intents = [Intent(first.key(), 1, endpoint, "asked", 9, 3) for endpoint in ("a", "b")]
    for intent in intents:
        await first.intend(intent)
    first.identified(intents[0], "id-a")
    await asyncio.sleep(0)
    assert [each.endpoint for each in lives.history().unsettled()] == ["b"]
    fetchable = lives.next().open_call()
    assert fetchable is not None
    assert fetchable.endpoint == "a"


async def test_an_answer_that_is_gone_is_held_for_once() -> None:
    lives = Lives("hold")
    first = lives.next()
    intent = Intent(first.key(), 1, "a", "asked", 9, 3)
    await first.intend(intent)
    first.identified(intent, "id-a")
    await asyncio.sleep(0)
    second = lives.next()
    fetchable = second.open_call()
    assert fetchable is not None
    with pytest.raises(CallUncertain):
        second.fetched(fetchable, None)
    third = lives.next()  # somebody has decided to go on
    assert third.open_call() is None
    assert await call(third) == intent.key


def _told() -> dict[str, object]:
    return {"step": STEP.step, "asked": STEP.asked, "occurrence": STEP.occurrence}
