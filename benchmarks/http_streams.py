"""Streams: what reading a reply as deltas costs beside reading its bytes."""

from contextlib import AsyncExitStack

import aiohttp
import orjson

from benchmarks.http_clients import HEADERS, REQUEST, all_stages, body_of, raw_session
from benchmarks.mock_endpoint import Behaviour, mock_endpoint
from benchmarks.timing import Call, Sample, Spent, in_turns
from repertory.providers.endpoint import Endpoint
from repertory.providers.messages import TextDelta

STREAMS = 100  # at a time
TOKENS = 200
PACE = 0.005  # seconds from token to token, so that a client has time to fetch one before the next comes
TURNS = 4


async def stream_ratio(scale: int) -> Sample:
    """Tokens a second of CPU time through `Endpoint.stream` beside aiohttp, which reads the same bytes."""
    tokens = TOKENS // scale
    paced = await _streamed(Behaviour(tokens=tokens, pace=PACE))
    at_once = await _streamed(Behaviour(tokens=tokens))
    us = {name: each.cpu / (STREAMS * TURNS * tokens) * 1e6 for name, each in paced.items()}
    us_at_once = {name: each.cpu / (STREAMS * TURNS * tokens) * 1e6 for name, each in at_once.items()}
    key = "stream_ratio"
    return {
        key: us["raw"] / us["ours"],
        f"{key}.beside_lines_and_json": us["parsed"] / us["ours"],
        f"{key}.raw_us_a_token": us["raw"],
        f"{key}.lines_and_json_us_a_token": us["parsed"],
        f"{key}.ours_us_a_token": us["ours"],
        f"{key}.at_once": us_at_once["raw"] / us_at_once["ours"],
        f"{key}.at_once_beside_lines_and_json": us_at_once["parsed"] / us_at_once["ours"],
        f"{key}.at_once_raw_us_a_token": us_at_once["raw"],
        f"{key}.at_once_ours_us_a_token": us_at_once["ours"],
    }


async def _streamed(behaviour: Behaviour) -> dict[str, Spent]:
    with mock_endpoint(behaviour) as url:
        async with AsyncExitStack() as stack:
            session = await raw_session(stack)
            endpoint = await all_stages(url)
            stack.push_async_callback(endpoint.close)
            sides = {
                "raw": _bytes_reader(session, url),
                "parsed": _event_reader(session, url, behaviour.tokens),
                "ours": _delta_reader(endpoint, behaviour.tokens),
            }
            return await in_turns(sides, STREAMS * TURNS, STREAMS, TURNS)


def _bytes_reader(session: aiohttp.ClientSession, url: str) -> Call:
    """Reads the bytes of a stream as they come, nothing parsed."""
    body = body_of(REQUEST, stream=True)

    async def read() -> None:
        async with session.post(f"{url}/chat/completions", data=body, headers=HEADERS) as response:
            async for _ in response.content.iter_any():
                pass

    return read


def _event_reader(session: aiohttp.ClientSession, url: str, tokens: int) -> Call:
    """Reads a stream as one would by hand: lines, JSON, the token in it."""
    body = body_of(REQUEST, stream=True)

    async def read() -> None:
        words = []
        async with session.post(f"{url}/chat/completions", data=body, headers=HEADERS) as response:
            async for line in response.content:
                if not line.startswith(b"data: ") or line == b"data: [DONE]\n":
                    continue
                choices = orjson.loads(line[6:])["choices"]
                if choices and (word := choices[0]["delta"].get("content")):
                    words.append(word)
        assert len(words) == tokens

    return read


def _delta_reader(endpoint: Endpoint, tokens: int) -> Call:
    """Reads a stream through the endpoint, every delta of it."""

    async def read() -> None:
        words = []
        async with endpoint.stream(REQUEST) as deltas:
            async for delta in deltas:
                if isinstance(delta, TextDelta):
                    words.append(delta.text)
        assert len(words) == tokens

    return read
