"""A streamed reply through an endpoint: what is passed on, what is repeated, and how it ends."""

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from repertory.clock import SystemClock
from repertory.errors import (
    DeadlineExceeded,
    LMConnectionError,
    LMError,
    LMReplyMalformed,
    LMServerError,
    LMTimeout,
)
from repertory.events import Event, Hooks, LMCallFinished
from repertory.providers.endpoint import Endpoint
from repertory.providers.limits import LimitSettings
from repertory.providers.messages import (
    Delta,
    End,
    LMRequest,
    LMResponse,
    Message,
    ReasoningDelta,
    ReasoningPart,
    TextDelta,
    TextPart,
    ToolCallDelta,
    ToolCallPart,
    Usage,
    UsageDelta,
)
from repertory.providers.settings import EndpointSettings
from repertory.testing import FakeClock
from tests.endpoint import Raw, ScriptedEndpoint, Status, Step, Streamed, chunk
from tests.faulty.http import EVENTS, head
from tests.faulty.http import chunk as chunked
from tests.faulty.server import FaultyServer, Send, Trickle

ASK = LMRequest((Message("user", "Capital of France?"),))
DONE = b"data: [DONE]\n\n"
COUNTED = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2}}\n\n'
WHOLE = (chunk(role="assistant"), chunk(content="Pa"), chunk(content="ris"), chunk("stop"), COUNTED, DONE)
SAID = LMResponse("Paris", "stop", Usage(9, 2), "scripted-1", "chatcmpl-1")


def endpoint(server: ScriptedEndpoint, hooks: Hooks | None = None, **settings: Any) -> Endpoint:
    given = EndpointSettings("qa", "m", server.url, **settings)
    return Endpoint(given, clock=SystemClock(), hooks=hooks or Hooks(), rng=Random(1))


async def begin(lm: Endpoint) -> None:
    async with lm.stream(ASK):
        pass


async def streamed(steps: list[Step], **settings: Any) -> list[Delta]:
    async with ScriptedEndpoint(steps) as server:
        lm = endpoint(server, **settings)
        try:
            async with lm.stream(ASK) as deltas:
                return [delta async for delta in deltas]
        finally:
            await lm.close()
            assert lm.snapshot().in_flight == 0


async def test_a_reply_comes_piece_by_piece_and_whole_at_the_end() -> None:
    deltas = await streamed([Streamed(WHOLE)])
    assert deltas == [TextDelta("Pa"), TextDelta("ris"), UsageDelta(Usage(9, 2)), End(SAID)]


async def test_the_request_asks_for_a_stream_that_is_counted() -> None:
    async with ScriptedEndpoint([Streamed(WHOLE)]) as server:
        lm = endpoint(server)
        async with lm.stream(ASK) as deltas:
            assert [delta async for delta in deltas]
        await lm.close()
        assert server.requests[0].body["stream"] is True
        assert server.requests[0].body["stream_options"] == {"include_usage": True}


async def test_thoughts_and_the_arguments_of_parallel_calls_come_in_pieces() -> None:
    def call(index: int, arguments: str, **more: str) -> bytes:
        function = {"arguments": arguments} | ({"name": more["name"]} if more else {})
        return chunk(tool_calls=[{"index": index, "function": function} | ({"id": more["id"]} if more else {})])

    deltas = await streamed(
        [
            Streamed(
                (
                    *(chunk(reasoning_content="I sh"), chunk(reasoning_content="ould")),
                    *(call(0, "", id="a", name="add"), call(0, '{"x":'), call(1, "{}", id="b", name="now")),
                    *(call(0, "1}"), chunk("tool_calls"), DONE),
                )
            )
        ]
    )
    reply = LMResponse(
        (ReasoningPart("I should"), ToolCallPart("a", "add", '{"x":1}'), ToolCallPart("b", "now", "{}")),
        "tool_calls",
        Usage(),
        "scripted-1",
        "chatcmpl-1",
    )
    assert deltas == [
        *(ReasoningDelta("I sh"), ReasoningDelta("ould")),
        *(ToolCallDelta(0, "a", "add", ""), ToolCallDelta(0, "", "", '{"x":'), ToolCallDelta(1, "b", "now", "{}")),
        *(ToolCallDelta(0, "", "", "1}"), End(reply)),
    ]
    assert reply.tool_calls[0].parsed() == {"x": 1}
    assert reply.reasoning == "I should"


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_the_pieces_of_the_network_do_not_matter(size: int) -> None:
    body = chunk(content="é🎭") + b"".join(WHOLE[1:]).replace(b"\n", b"\r\n")
    deltas = await streamed([Streamed(tuple(body[i : i + size] for i in range(0, len(body), size)))])
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == "é🎭Paris"
    assert isinstance(deltas[-1], End)


@pytest.mark.parametrize("pieces", [WHOLE[:-1], (*WHOLE, DONE), WHOLE[:4]])
async def test_a_reply_that_said_how_it_ended_needs_no_done_and_minds_no_second_one(
    pieces: tuple[bytes, ...],
) -> None:
    end = (await streamed([Streamed(pieces)]))[-1]
    assert isinstance(end, End)
    assert (end.response.text, end.response.finish_reason) == ("Paris", "stop")


@pytest.mark.parametrize(
    "failure",
    [
        Status(503),
        Streamed((), cut=True),
        Streamed((chunk(role="assistant"),), cut=True),
        Streamed((b'data: {"error":{"message":"overloaded"}}\n\n',)),
        Streamed((b"data: {broken\n\n",)),
        Streamed(()),
        Raw(b"<html>", content_type="text/html"),
    ],
)
async def test_what_fails_before_the_first_output_is_repeated(failure: Step) -> None:
    assert (await streamed([failure, Streamed(WHOLE)]))[-1] == End(SAID)


@pytest.mark.parametrize(
    ("then", "kind"),
    [
        ((), LMConnectionError),
        ((b'data: {"error":{"message":"overloaded"}}\n\n',), LMServerError),
        ((b"data: {broken\n\n",), LMReplyMalformed),
    ],
)
async def test_what_fails_after_the_first_output_is_told_and_never_repeated(
    then: tuple[bytes, ...], kind: type[LMError]
) -> None:
    passed_on: list[Delta] = []
    first_came = asyncio.Event()
    step = Streamed((chunk(content="Pa"), chunk(content="ris") + b"".join(then)), cut=True, until=first_came)

    async def read(lm: Endpoint) -> None:
        async with lm.stream(ASK) as deltas:
            async for delta in deltas:
                passed_on.append(delta)
                first_came.set()

    async with ScriptedEndpoint([step]) as server:
        lm = endpoint(server)
        with pytest.raises(kind):
            await read(lm)
        await lm.close()
        assert passed_on == [TextDelta("Pa"), TextDelta("ris")]
        assert len(server.requests) == 1
        assert lm.snapshot().failures == 1
        assert lm.snapshot().circuit.failures == 1


async def test_leaving_early_cuts_the_connection_and_tells() -> None:
    told: list[Event] = []
    never = asyncio.Event()
    async with ScriptedEndpoint([Streamed(WHOLE, until=never, wait_at=2)]) as server:
        lm = endpoint(server, Hooks([told.append]), limits=LimitSettings(max_concurrency=1))
        async with lm.stream(ASK) as deltas:
            assert await anext(deltas) == TextDelta("Pa")
        await server.client_left.wait()
        await lm.close()
        finished = [event for event in told if isinstance(event, LMCallFinished)]
        assert [event.error for event in finished] == ["cancelled"]
        assert lm.snapshot().circuit.calls == 0
        assert lm.snapshot().in_flight == 0


async def test_what_its_reader_raises_is_no_failure_of_the_endpoint() -> None:
    async def read(lm: Endpoint) -> None:
        async with lm.stream(ASK):
            raise LMReplyMalformed("the reader's own")

    async with ScriptedEndpoint([Streamed(WHOLE)]) as server:
        lm = endpoint(server)
        with pytest.raises(LMReplyMalformed, match="the reader's own"):
            await read(lm)
        await lm.close()
        assert (lm.snapshot().failures, lm.snapshot().circuit.failures) == (0, 0)


async def test_cancelling_the_reader_cuts_the_connection_and_frees_its_place() -> None:
    never = asyncio.Event()
    async with ScriptedEndpoint([Streamed(WHOLE, until=never, wait_at=2), Streamed(WHOLE)]) as server:
        lm = endpoint(server, limits=LimitSettings(max_concurrency=1))
        begun = asyncio.Event()

        async def read() -> None:
            async with lm.stream(ASK) as deltas:
                async for _ in deltas:
                    begun.set()

        reader = asyncio.create_task(read())
        await begun.wait()
        reader.cancel()
        await server.client_left.wait()
        with pytest.raises(asyncio.CancelledError):
            await reader
        async with lm.stream(ASK) as deltas:
            assert [delta async for delta in deltas][-1] == End(SAID)
        await lm.close()


async def test_a_stream_that_falls_silent_is_a_timeout_and_one_past_the_deadline_says_so() -> None:
    never = asyncio.Event()
    silent = Streamed(WHOLE, until=never, wait_at=2)
    with pytest.raises(LMTimeout):
        await streamed([silent], next_token_timeout=0.05)
    with pytest.raises(LMTimeout):
        await streamed([Streamed(WHOLE, until=never, wait_at=0)], first_token_timeout=0.05, attempts=1)
    with pytest.raises(DeadlineExceeded):
        await streamed([silent], timeout=0.05, attempts=1)


async def test_counts_alone_are_no_output_and_what_fails_after_them_is_repeated() -> None:
    """Anthropic's streams begin with a count; that it is overloaded may come right after."""
    counts = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":0}}\n\n'
    deltas = await streamed([Streamed((counts,), cut=True), Streamed((counts, *WHOLE))])
    assert deltas == [UsageDelta(Usage(9, 0)), *(TextDelta("Pa"), TextDelta("ris")), *deltas[-2:]]
    assert deltas[-1] == End(SAID)


async def test_a_stream_that_is_only_kept_alive_is_a_timeout() -> None:
    async with FaultyServer([(Send(head(content_type=EVENTS)), Trickle(chunked(b": ping\n\n")))]) as server:
        given = EndpointSettings("qa", "m", server.url, first_token_timeout=0.1, attempts=1)
        lm = Endpoint(given, clock=SystemClock(), hooks=Hooks(), rng=Random(1))
        with pytest.raises(LMTimeout, match=r"qa: no output within 0\.1 s"):
            await begin(lm)
        await lm.close()
        await server.until_quiet()


async def test_a_stream_that_always_has_more_ends_at_the_deadline_all_the_same() -> None:
    clock, first_came = FakeClock(), asyncio.Event()
    async with ScriptedEndpoint([Streamed((chunk(content="Pa"), *WHOLE[2:]), until=first_came)]) as server:
        lm = Endpoint(EndpointSettings("qa", "m", server.url), clock=clock, hooks=Hooks(), rng=Random(1))
        async with lm.stream(replace(ASK, deadline=clock.monotonic() + 60)) as deltas:
            assert await anext(deltas) == TextDelta("Pa")
            first_came.set()
            for _ in range(20):
                await asyncio.sleep(0)  # the server runs in the same loop: by then more has come
            clock.advance(60)
            with pytest.raises(DeadlineExceeded):
                await anext(deltas)
        await lm.close()


async def test_a_reply_without_words_is_whole_all_the_same() -> None:
    deltas = await streamed([Streamed((chunk("stop"), DONE))])
    assert deltas == [End(LMResponse("", "stop", Usage(), "scripted-1", "chatcmpl-1"))]


def test_a_reply_is_a_turn_to_go_on_from() -> None:
    parts = (ReasoningPart("hm", "sig"), TextPart("I look."), ToolCallPart("a", "add", "{}"))
    assert LMResponse(parts, "tool_calls", Usage(), "m", "").message == Message("assistant", parts)
