"""A route from call to answer, over candidates that need no network."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest

from repertory.clock import Clock
from repertory.errors import (
    BudgetExceeded,
    ConfigError,
    DeadlineExceeded,
    LMAuthError,
    LMModelUnknown,
    LMRequestRejected,
    LMServerError,
    LMTimeout,
    RepertoryError,
    RuntimeClosed,
)
from repertory.events import Event, FellBack, Hooks, StaleServed
from repertory.modules import Predict
from repertory.providers.candidate import Candidate
from repertory.providers.messages import (
    Choice,
    Delta,
    End,
    LMRequest,
    LMResponse,
    ReasoningDelta,
    ReasoningPart,
    Terms,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    Usage,
    UsageDelta,
)
from repertory.providers.policies import Fallback, LeastLatency, Order, Outcome, Policy, Weighted
from repertory.providers.route import Route
from repertory.testing import FakeClock
from tests.providers.stand_in import ASK, Deed, StandIn, reply

DOWN = LMServerError("a: answered 500", endpoint="a")
OLD = replace(reply("an old answer"), source="stale")


def route(
    *candidates: Candidate, policy: Policy | None = None, hooks: Hooks | None = None, share: float = 1.0
) -> Route:
    return Route(
        "qa",
        candidates,
        policy or Fallback(),
        clock=FakeClock(),
        hooks=hooks or Hooks(),
        rng=Random(1),
        share=share,
    )


def watched(*candidates: Candidate, policy: Policy | None = None) -> tuple[Route, list[Event]]:
    events: list[Event] = []
    return route(*candidates, policy=policy, hooks=Hooks([events.append])), events


async def deltas(lm: Route, allow_stale: bool = False) -> list[Delta]:
    async with lm.stream(replace(ASK, terms=Terms(allow_stale=allow_stale))) as coming:
        return [delta async for delta in coming]


async def test_the_first_answers_and_nobody_else_is_asked() -> None:
    a, b = StandIn("a"), StandIn("b")
    lm, events = watched(a, b)
    assert (await lm.complete(ASK)).text == "ok"
    assert (a.asked, b.asked, events) == ([ASK], [], [])


async def test_who_fails_is_stood_in_for_by_the_next_and_that_is_told() -> None:
    lm, events = watched(StandIn("a", DOWN), StandIn("b", LMAuthError("401")), StandIn("c", "from c"))
    assert (await lm.complete(ASK)).text == "from c"
    assert events == [FellBack("qa", "a", "b", "lm_server_error"), FellBack("qa", "b", "c", "lm_auth")]
    snapshot = lm.snapshot()
    assert [(each.name, each.asked, each.failed) for each in snapshot.candidates] == [
        ("a", 1, 1),
        ("b", 1, 1),
        ("c", 1, 0),
    ]
    assert (snapshot.calls, snapshot.failures) == (1, 0)


@pytest.mark.parametrize(
    "final",
    [LMRequestRejected("400"), BudgetExceeded("empty", account="tenant"), asyncio.CancelledError(), KeyError()],
    ids=repr,
)
@pytest.mark.parametrize("streams", [False, True])
async def test_a_failure_that_another_cannot_mend_is_raised_at_once(final: BaseException, streams: bool) -> None:
    b = StandIn("b")
    lm = route(StandIn("a", final), b)
    with pytest.raises(type(final)) as raised:
        await (
            deltas(lm, allow_stale=True) if streams else lm.complete(replace(ASK, terms=Terms(allow_stale=True)))
        )
    assert raised.value is final
    assert b.asked == []


async def test_when_all_have_failed_the_error_tells_of_all() -> None:
    lm = route(StandIn("a", DOWN), StandIn("b", LMTimeout("b: no answer within 3 s", endpoint="b")))
    with pytest.raises(LMTimeout, match=r"b: no answer within 3 s.*a: answered 500"):
        await lm.complete(ASK)
    assert lm.snapshot().failures == 1


# --- old answers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [False, True])
async def test_an_old_answer_is_given_if_the_caller_allows_it_and_nobody_has_a_new_one(streams: bool) -> None:
    lm, events = watched(StandIn("a", DOWN), StandIn("b", DOWN, kept=OLD))
    if streams:
        assert (await deltas(lm, allow_stale=True))[-1] == End(OLD)
    else:
        assert await lm.complete(replace(ASK, terms=Terms(allow_stale=True))) is OLD
    assert events[-1] == StaleServed("qa", "b", "lm_server_error")
    snapshot = lm.snapshot()
    assert (snapshot.stale, snapshot.failures) == (1, 0)


async def test_an_old_answer_is_not_given_unasked_nor_before_all_have_failed() -> None:
    b = StandIn("b", DOWN, kept=OLD)
    lm = route(StandIn("a", DOWN), b)
    with pytest.raises(LMServerError):
        await lm.complete(ASK)
    b.deed = "a new answer"
    assert (await lm.complete(replace(ASK, terms=Terms(allow_stale=True)))).text == "a new answer"


async def test_without_an_old_answer_the_failure_is_raised() -> None:
    with pytest.raises(LMServerError):
        await route(StandIn("a", DOWN)).complete(replace(ASK, terms=Terms(allow_stale=True)))


async def test_an_old_answer_streams_as_if_it_came_now() -> None:
    old = LMResponse(
        (
            ReasoningPart("hm"),
            TextPart("I look."),
            ToolCallPart("c1", "look", "{}"),
            ToolCallPart("c2", "ask", '{"x":1}'),
        ),
        "tool_calls",
        Usage(3, 9),
        "m",
        "id",
        others=(Choice("other", "stop"),),
    )
    assert await deltas(route(StandIn("a", DOWN, kept=old)), allow_stale=True) == [
        ReasoningDelta("hm"),
        TextDelta("I look."),
        ToolCallDelta(0, "c1", "look", "{}"),
        ToolCallDelta(1, "c2", "ask", '{"x":1}'),
        TextDelta("other", 1),
        UsageDelta(Usage(3, 9)),
        End(old),
    ]


# --- streams -------------------------------------------------------------------------------------------------


async def test_a_stream_that_does_not_begin_is_stood_in_for_by_the_next() -> None:
    lm, events = watched(StandIn("a", DOWN), StandIn("b", "from b"))
    assert await deltas(lm) == [TextDelta("from b"), UsageDelta(Usage(3, 1)), End(reply("from b"))]
    assert events == [FellBack("qa", "a", "b", "lm_server_error")]


async def test_what_the_reader_of_a_stream_raises_is_its_own() -> None:
    a, b = StandIn("a", "words"), StandIn("b")
    lm = route(a, b)
    with pytest.raises(LMServerError):
        async with lm.stream(ASK):
            raise LMServerError("of the reader")
    assert b.asked == []
    assert lm.snapshot().failures == 0


async def test_streams_take_turns_of_their_own() -> None:
    a, b = StandIn("a"), StandIn("b")
    lm = route(a, b, policy=Weighted({"a": 1, "b": 1}))
    for _ in range(3):
        await lm.complete(ASK)
        await deltas(lm)
    assert Counter({"a": len(a.asked), "b": len(b.asked)}) == {"a": 4, "b": 2}


# --- schemas -------------------------------------------------------------------------------------------------


async def test_candidates_of_one_dialect_are_given_the_schema() -> None:
    a, b = (StandIn(name, dialect="anthropic") for name in "ab")
    a.deed = DOWN
    lm = route(a, b)
    assert lm.schema_dialect == "anthropic"
    await lm.complete(replace(ASK, response_schema={"type": "object"}))
    assert [each.asked[0].response_schema for each in (a, b)] == [{"type": "object"}] * 2


async def test_no_candidate_is_given_a_schema_of_another_dialect() -> None:
    listed = [StandIn("a", DOWN, dialect="openai_strict"), StandIn("b", DOWN, dialect="google"), StandIn("c")]
    lm = route(*listed)
    assert lm.schema_dialect is None
    await lm.complete(replace(ASK, response_schema={"type": "object"}))
    assert [each.asked[0].response_schema for each in listed] == [None] * 3


@pytest.mark.parametrize("second", ["openai_strict", "google"])
async def test_a_prediction_can_be_read_whichever_candidate_answers(second: str) -> None:
    def answers(name: str) -> str:
        return f'{{"answer": "{name}"}}' if second == "openai_strict" else f"[[ ## answer ## ]]\n{name}"

    a = StandIn("a", DOWN, dialect="openai_strict")
    b = StandIn("b", answers("b"), dialect=second)  # type: ignore[arg-type]  # a dialect by parameter
    prediction = await Predict("question -> answer", lm=route(a, b))(question="Who?")
    assert prediction.answer == "b"


# --- the rest ------------------------------------------------------------------------------------------------


async def test_closing_a_route_leaves_its_endpoints_open() -> None:
    a = StandIn("a")
    lm = route(a)
    await lm.close()
    assert not a.closed
    with pytest.raises(RuntimeClosed, match="qa"):
        await lm.complete(ASK)
    with pytest.raises(RuntimeClosed, match="qa"):
        await deltas(lm)


async def test_a_failing_endpoint_loses_the_traffic_of_a_least_latency_route() -> None:
    good, bad = StandIn("good"), StandIn("bad", DOWN)
    lm = route(good, bad, policy=LeastLatency())
    for _ in range(50):
        await lm.complete(ASK)
    assert len(bad.asked) == 1


class Recording(Order):
    """A policy, and the order it stands for, that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def over(self, names: Sequence[str], clock: Clock, rng: Random) -> Order:
        return self

    def rank(self, request: LMRequest, candidates: Sequence[Candidate]) -> Sequence[Candidate]:
        return candidates

    def sent(self, name: str) -> None:
        self.told.append(name)

    def ended(self, name: str, seconds: float, outcome: Outcome) -> None:
        self.told.append(f"{name} {outcome}")


@pytest.mark.parametrize(
    ("deed", "outcome"),
    [
        ("an answer", "answered"),
        (replace(reply("kept"), source="cache"), "left"),
        (DOWN, "failed"),
        (LMModelUnknown("404"), "failed"),
        (LMRequestRejected("400"), "left"),
        (DeadlineExceeded("too late"), "left"),
        (asyncio.CancelledError(), "left"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else None,
)
async def test_a_policy_is_told_how_each_call_of_an_endpoint_ended(deed: Deed, outcome: str) -> None:
    policy = Recording()
    lm = route(StandIn("a", deed), policy=policy)
    with suppress(RepertoryError, asyncio.CancelledError):
        await lm.complete(ASK)
    assert policy.told == ["a", f"a {outcome}"]


async def test_a_snapshot_names_the_policy() -> None:
    lm = route(StandIn("a"), policy=Weighted({"a": 1}))
    assert lm.snapshot().policy == "Weighted(weights={'a': 1})"
    assert repr(lm) == "Route('qa', ['a'], Weighted(weights={'a': 1}))"


@pytest.mark.parametrize(
    ("candidates", "share", "match"),
    [
        ([], 1.0, "it has no endpoints"),
        ([StandIn("a"), StandIn("a")], 1.0, "two of its endpoints are called 'a'"),
        ([StandIn("a")], 0.0, "share = 0.0"),
        ([StandIn("a")], 1.5, "share = 1.5"),
    ],
)
def test_a_route_that_cannot_work_is_refused(candidates: Sequence[StandIn], share: float, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        route(*candidates, share=share)
