"""Predictions through actors, scheduler and provider pipeline: beside raw aiohttp, and by themselves."""

import gc
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp

import repertory as rp
from benchmarks.mock_endpoint import Behaviour, mock_endpoint
from benchmarks.timing import Call, Sample, Spent, calls_in_flight, in_turns
from repertory.cli.main import YOUNG_OBJECTS
from repertory.modules import JSONAdapter
from repertory.providers import openai_chat
from repertory.providers.messages import LMRequest, LMResponse, Usage
from repertory.providers.wire import Quirks
from repertory.providers.witness import Intent
from repertory.runtime.config import make_config

SIGNATURE = "article -> topic: Literal['business', 'entertainment', 'politics', 'sports', 'tech']"
ARTICLE = "How to smash a home computer An executive who froze his broken hard disk thinking"
CALLS_100 = 8_000
CALLS_1000 = 8_000  # as above: several waves of those in flight, so that it is their steady state that is measured
PREDICTIONS = 4_000


async def raw_client(url: str, stack: AsyncExitStack) -> Call:
    """A call that posts the same bytes as Repertory and reads the reply, no more."""
    session = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=120))
    )
    predict = rp.Predict(SIGNATURE)
    messages = JSONAdapter().format(predict.compiled, (), {"article": ARTICLE})
    request = LMRequest(messages, response_schema=predict.compiled.output_schema)
    body = openai_chat.encode(request, "mock", Quirks())
    headers = {"Content-Type": "application/json"}

    async def call() -> None:
        async with session.post(f"{url}/chat/completions", data=body, headers=headers) as response:
            await response.read()

    return call


async def repertory_client(url: str, stack: AsyncExitStack, store: Path | None) -> Call:
    """A call of a `Predict` on a runtime."""
    model = {"model": "openai/mock", "base_url": url, "api_key_env": ""}
    config = make_config("benchmark", {"lm": {"default": model}})
    runtime = await stack.enter_async_context(rp.Runtime(config, store=store))
    predict = await runtime.start(rp.Predict(SIGNATURE), name="topic", concurrency=1024)

    async def call() -> None:
        prediction = await predict(article=ARTICLE)
        assert prediction.topic == "tech"

    return call


async def ratios_100(scale: int) -> Sample:
    """100 in flight, an endpoint that answers at once."""
    return await _beside_raw("100", Behaviour(), CALLS_100 // scale, 100)


async def ratios_1000(scale: int) -> Sample:
    """1,000 in flight, an endpoint that takes 50 ms."""
    return await _beside_raw("1000_50ms", Behaviour(delay=0.05), max(CALLS_1000 // scale, 1000), 1000)


async def _beside_raw(suffix: str, behaviour: Behaviour, calls: int, in_flight: int) -> Sample:
    with mock_endpoint(behaviour) as url, tempfile.TemporaryDirectory() as directory:
        async with AsyncExitStack() as stack:
            sides = {
                "raw": await raw_client(url, stack),
                "plain": await repertory_client(url, stack, None),
                "journaled": await repertory_client(url, stack, Path(directory) / "store.db"),
            }
            gc.collect()
            gc.freeze()  # this and the threshold as in the daemon
            gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
            spent = await in_turns(sides, calls, in_flight, 2)
    sample = {}
    for side, key in (("plain", f"predict_ratio_{suffix}"), ("journaled", f"journaled_ratio_{suffix}")):
        sample[key] = spent["raw"].wall / spent[side].wall
        sample[f"{key}.per_s"] = calls / spent[side].wall
        sample[f"{key}.cpu_ms"] = spent[side].cpu / calls * 1000
        sample[f"{key}.raw_per_s"] = calls / spent["raw"].wall
        sample[f"{key}.raw_cpu_ms"] = spent["raw"].cpu / calls * 1000
    return sample


class InMemoryLM:
    """Answers at once, always the same; whoever keeps the record of a run is told of it as of a paid call."""

    name = "in-memory"
    schema_dialect = "json_schema"

    def __init__(self) -> None:
        self._reply = LMResponse('{"topic":"tech"}', "stop", Usage(40, 5), model="in-memory", id="1")

    async def complete(self, request: LMRequest) -> LMResponse:
        if (witness := request.witness) is not None:
            intent = Intent(witness.key(), 1, self.name, "0" * 32, None, 45)
            await witness.intend(intent)
            witness.settled(intent, "paid", self._reply.usage, None)
        return self._reply

    async def close(self) -> None:
        return


async def overhead(scale: int) -> Sample:
    """CPU time of a prediction whose model costs nothing, one after the other and 100 in flight."""
    calls = PREDICTIONS // scale
    async with rp.Runtime(lm=InMemoryLM(), store=None) as runtime:  # type: ignore[arg-type]  # it is never streamed
        predict = await runtime.start(rp.Predict(SIGNATURE), name="topic")

        async def call() -> None:
            await predict(article=ARTICLE)

        await calls_in_flight(call, calls // 4, 1)
        one, hundred = Spent(0, 0), Spent(0, 0)
        for _ in range(3):
            one += await calls_in_flight(call, calls, 1)
            hundred += await calls_in_flight(call, calls, 100)
    return {
        "overhead_us": one.cpu / (3 * calls) * 1e6,
        "overhead_us.in_flight_100": hundred.cpu / (3 * calls) * 1e6,
        "overhead_us.elapsed": one.wall / (3 * calls) * 1e6,
    }
