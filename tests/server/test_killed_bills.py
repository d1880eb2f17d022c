"""``kill -9`` of the daemon, again and again: an endpoint's bill is what its journal says."""

import asyncio
from pathlib import Path
from random import Random

from benchmarks.kill_books import Audit, Books
from benchmarks.kill_endpoint import kill_endpoint
from benchmarks.kill_load import INPUT, OUTPUT, calls, document
from tests.server.child import Child, daemon
from tests.server.service import PATIENCE

RUNS = 30
KILLS = 3
PROGRAM = "from benchmarks.kill_load import Report\n\njudge = Report()\n"
PRICE = f"[lm.default.price]\ninput = {INPUT / 1000}\noutput = {OUTPUT / 1000}\n"


async def submit_all(child: Child) -> list[str]:
    """Submit every run, as a client does that does not know what was accepted; return their ids."""
    ids = []
    for number in range(RUNS):
        path, headers = "/v1/programs/mail/runs", {"Idempotency-Key": str(number)}
        body = {"document": document(number)}
        async with child.client.post(path, json=body, headers=headers) as response:
            assert response.status in (200, 202), await response.text()
            ids.append((await response.json())["id"])
    return ids


async def until_ended(child: Child, id: str) -> None:
    ended, after = False, 0
    async with asyncio.timeout(PATIENCE):
        while not ended:
            async with child.client.get(f"/v1/runs/{id}/events?wait=50&after={after}") as response:
                page = await response.json()
            ended, after = page["ended"], page["last"]


async def test_nothing_recorded_is_asked_again_and_all_that_is_billed_is_in_the_books(tmp_path: Path) -> None:
    rng, audit, store = Random(6), Audit(), str(tmp_path / "store.db")
    async with kill_endpoint(seed=6, faults=0) as endpoint:
        for moment in sorted(rng.sample(range(1, calls(RUNS)), KILLS)):
            async with daemon(tmp_path, endpoint.url, 3600, program=PROGRAM, settings=PRICE) as child:
                submitting = asyncio.create_task(submit_all(child))
                async with asyncio.timeout(PATIENCE):
                    await endpoint.reached(moment)
                child.process.kill()
                await child.exit_code()
                await asyncio.wait({submitting})
                submitting.exception()  # the connection may have been lost
            await endpoint.quiet()
            audit.after_kill(await Books.copied(store), endpoint.asked)
        async with daemon(tmp_path, endpoint.url, 3600, program=PROGRAM, settings=PRICE) as child:
            for id in await submit_all(child):
                await until_ended(child, id)
        figures = audit.figures(await Books.copied(store), endpoint.asked, RUNS)
    assert figures == dict.fromkeys(figures, 0)
