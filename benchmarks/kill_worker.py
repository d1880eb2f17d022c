"""A process that submits runs and waits for them; it is there to be killed.

    python -m benchmarks.kill_worker STORE URL RUNS CONCURRENCY LEASE

It submits the same runs in every life, and ends when each has its outcome.
"""

import asyncio
import sys
from functools import partial

from benchmarks.kill_load import INPUT, OUTPUT, Report, document
from repertory.runtime import run_keeper
from repertory.runtime.config import make_config
from repertory.runtime.runtime import Runtime
from repertory.store.owners import Owners

PROGRAM = "report"
PATIENCE = 300.0  # seconds


async def main(location: str, url: str, runs: int, concurrency: int) -> None:
    """Bring all runs to their outcome, with so many calls of each predictor under way."""
    price = {"input": INPUT / 1000, "output": OUTPUT / 1000}  # dollars a million tokens
    lm = {
        "model": "openai/m",
        "base_url": url,
        "api_key_env": "",
        "attempts": 5,
        "retry_share": 1.0,
        "price": price,
    }
    config = make_config("the benchmark", {"lm": {"default": lm}})
    async with asyncio.timeout(PATIENCE), Runtime(config, store=location) as runtime:
        program = await runtime.start(Report(), name=PROGRAM, concurrency=concurrency)
        submitted = (
            runtime.submit(program, {"document": document(number)}, key=str(number)) for number in range(runs)
        )
        handles = await asyncio.gather(*submitted)
        # Whether they ended well is for others to see.
        await asyncio.gather(*(handle.result() for handle in handles), return_exceptions=True)


def hasten(lease: float) -> None:
    """Have the dead be known as such, and their runs be taken over, within about ``lease`` seconds."""
    Owners.open = partial(Owners.open, lease=lease)  # type: ignore[method-assign]  # nobody else needs to say it
    run_keeper.SWEEP_INTERVAL = lease


if __name__ == "__main__":
    _, location, url, runs, concurrency, lease = sys.argv
    hasten(float(lease))
    asyncio.run(main(location, url, int(runs), int(concurrency)))
