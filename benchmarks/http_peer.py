"""One other client, measured in a process of its own, which may run in an environment of its own.

    python -m benchmarks.http_peer litellm http://127.0.0.1:8000/v1

prints ``{"version": ...}`` when it is ready, then for every ``CALLS IN_FLIGHT`` line on its standard input
``{"wall": seconds, "cpu": seconds}``. It imports nothing but the standard library and the client itself.
"""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from importlib.metadata import version

from benchmarks.timing import calls_in_flight

ARTICLE = "How to smash a home computer. An executive who froze his broken hard disk thinking it would be fixed "
MESSAGES = [{"role": "system", "content": "Name the topic."}, {"role": "user", "content": ARTICLE}]
PATIENCE = 120.0  # seconds that a call may take


def litellm_call(url: str) -> Callable[[], Awaitable[object]]:
    """A bare `litellm.acompletion`."""
    _quiet_litellm()
    import litellm

    return lambda: litellm.acompletion(
        "openai/mock", api_base=url, api_key="none", messages=MESSAGES, max_tokens=100, timeout=PATIENCE
    )


def openai_call(url: str) -> Callable[[], Awaitable[object]]:
    """OpenAI's own SDK; by itself it opens up to 1,000 connections."""
    import openai

    create = openai.AsyncOpenAI(base_url=url, api_key="none", timeout=PATIENCE).chat.completions.create
    return lambda: create(model="mock", messages=MESSAGES, max_tokens=100)  # type: ignore[arg-type]  # plain dicts


def dspy_call(url: str) -> Callable[[], Awaitable[object]]:
    """A bare `dspy.LM`, nothing formatted or parsed, its cache off."""
    _quiet_litellm()
    import dspy

    lm = dspy.LM("openai/mock", api_base=url, api_key="none", cache=False, max_tokens=100, timeout=PATIENCE)
    return lambda: lm.acall(messages=MESSAGES)


CLIENTS = {"litellm": litellm_call, "openai": openai_call, "dspy": dspy_call}


def _quiet_litellm() -> None:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # otherwise it fetches its prices at import
    os.environ["LITELLM_LOG"] = "ERROR"  # otherwise it writes a line for every call that waits for a connection


async def _serve(name: str, url: str) -> None:
    make = CLIENTS[name](url)

    async def call() -> None:
        await make()

    await call()
    print(json.dumps({"version": version(name)}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        calls, in_flight = map(int, line.split())
        print(json.dumps((await calls_in_flight(call, calls, in_flight))._asdict()), flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
