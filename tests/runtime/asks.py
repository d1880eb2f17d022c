"""Programs whose ``forward`` a test writes itself, and a model that answers as it is told."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import repertory as rp
from repertory.errors import LMServerError
from repertory.providers.messages import LMRequest, LMResponse, Usage
from repertory.runtime.config import make_config
from repertory.runtime.runtime import Runtime

Answer: TypeAlias = str | Exception | asyncio.Event
FAILS = LMServerError("no")


class Scripted:
    """A model that answers by the input's name: with text, with an error, or not before an event is set."""

    name = "scripted"
    schema_dialect = "json_schema"

    def __init__(self, **answers: Answer | Callable[[], Answer]) -> None:
        self.answers = answers
        self.under_way = 0
        self.asked: list[str] = []
        self._news = asyncio.Event()

    async def until_asked(self, times: int) -> None:
        async with asyncio.timeout(60):
            while len(self.asked) < times:
                self._news.clear()
                await self._news.wait()

    async def complete(self, request: LMRequest) -> LMResponse:
        name = request.messages[-1].text.partition(": ")[0]
        self.asked.append(name)
        self._news.set()
        given = self.answers.get(name, "ok")
        answer = given() if callable(given) else given
        self.under_way += 1
        try:
            if isinstance(answer, asyncio.Event):
                await answer.wait()
                answer = "late"
        finally:
            self.under_way -= 1
        if isinstance(answer, Exception):
            raise answer
        return LMResponse(f'{{"out": "{answer}"}}', "stop", Usage(1, 1), model="scripted", id="1")

    async def close(self) -> None:
        pass


def never() -> asyncio.Event:
    return asyncio.Event()


Forward: TypeAlias = Callable[[Any, str], Awaitable[Any]]


class Asks(rp.Module):
    """Asks as its ``forward`` says; holds predictors called like their inputs."""

    def __init__(self, forward: Forward, **held: rp.Module) -> None:
        for name in ("a", "b", "c"):
            setattr(self, name, rp.Predict(f"{name} -> out"))
        vars(self).update(held)
        self._forward = forward

    async def forward(self, text: str) -> rp.Prediction:
        answer: rp.Prediction = await self._forward(self, text)
        return answer


def runtime_of(lm: Scripted, store: Path | None = None, steps: int = 64) -> Runtime:
    config = make_config("the test", {"scheduler": {"steps": steps}})
    return Runtime(config, lm=lm, store=store, timeout=60)  # type: ignore[arg-type]  # it does not stream
