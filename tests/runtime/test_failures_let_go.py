"""What a program got over is not kept for the rest of its run."""

import asyncio
import gc
import weakref

import repertory as rp
from repertory.errors import LMServerError
from repertory.runtime.runtime import Runtime
from repertory.testing import ScriptedLM


async def test_failures_that_were_heard_of_are_let_go() -> None:
    class Persists(rp.Module):
        def __init__(self) -> None:
            self.ask = rp.Predict("a -> b")
            self.failures: list[weakref.ref[BaseException]] = []

        async def forward(self, a: str) -> rp.Prediction:
            for _ in range(10):
                await self.fail_at_once()
            for _ in range(10):
                await self.fail_later()
            gc.collect()
            self.left = [failure() for failure in self.failures if failure() is not None]
            return rp.Prediction(b="done")

        async def fail_at_once(self) -> None:
            try:
                await self.ask(a="x")
            except LMServerError as error:
                self.failures.append(weakref.ref(error))

        async def fail_later(self) -> None:
            pending = [self.ask(a="x") for _ in range(20)]
            outcomes = await asyncio.gather(*pending, return_exceptions=True)
            self.failures += [weakref.ref(error) for error in outcomes if isinstance(error, LMServerError)]

    lm = ScriptedLM(lambda _: LMServerError("no"), keep=0)
    async with Runtime(lm=lm, store=None) as runtime:
        program = Persists()
        deployment = await runtime.start(program, name="p")
        assert (await deployment(a="x")).b == "done"
        assert len(program.failures) == 210
        assert len(program.left) < 130  # not more than are worth a look
