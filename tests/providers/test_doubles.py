"""The doubles of ``repertory.testing``: what tests everywhere lean on must itself hold."""

import asyncio

import pytest

from repertory.errors import LMRequestRejected, LMTimeout
from repertory.providers.lm import LM
from repertory.providers.messages import LMRequest, LMResponse, Message, Usage
from repertory.testing import FakeClock, ScriptedLM

ASK = LMRequest((Message("user", "capital of France?"),))


async def test_the_clock_wakes_sleepers_when_their_time_has_come(clock: FakeClock) -> None:
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    sleepers = [asyncio.create_task(sleeper(seconds)) for seconds in (3, 1, 2)]
    await clock.until_asleep(3)
    assert clock.next_wake() == 1
    clock.advance(2)
    await asyncio.gather(*sleepers[1:])
    assert woken == [1, 2]
    assert clock.sleeping == 1
    clock.advance(1)
    await sleepers[0]
    assert clock.next_wake() is None


async def test_a_cancelled_sleeper_is_not_counted(clock: FakeClock) -> None:
    task = asyncio.create_task(clock.sleep(1))
    await clock.until_asleep()
    task.cancel()
    await asyncio.wait([task])
    assert clock.sleeping == 0
    clock.advance(5)


def test_both_faces_of_the_clock_move_together(clock: FakeClock) -> None:
    monotonic, time = clock.monotonic(), clock.time()
    clock.advance(2.5)
    assert (clock.monotonic() - monotonic, clock.time() - time) == (2.5, 2.5)


async def test_the_scripted_lm_answers_in_order_and_says_when_it_has_no_more() -> None:
    whole = LMResponse("Rome", "length", Usage(1, 2), "m", "id")
    scripted = ScriptedLM(["Paris it is", LMTimeout("slow"), whole])
    lm: LM = scripted
    first = await lm.complete(ASK)
    assert (first.text, first.usage) == ("Paris it is", Usage(3, 3))
    with pytest.raises(LMTimeout):
        await lm.complete(ASK)
    assert await lm.complete(ASK) is whole
    with pytest.raises(LMRequestRejected, match="no answer left after 3"):
        await lm.complete(ASK)
    assert scripted.requests == [ASK] * 4
    await lm.close()
    assert scripted.closed


async def test_the_scripted_lm_can_compute_its_answer() -> None:
    lm = ScriptedLM(lambda request: request.messages[-1].text.upper())
    assert (await lm.complete(ASK)).text == "CAPITAL OF FRANCE?"
