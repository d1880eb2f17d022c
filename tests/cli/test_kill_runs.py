"""``kill -9`` of ``repertory run``, again and again: an endpoint's bill is what the journal says."""

import asyncio
from pathlib import Path
from random import Random

from benchmarks.kill_books import Audit, Books
from benchmarks.kill_endpoint import kill_endpoint
from benchmarks.kill_load import INPUT, OUTPUT, calls, document, outputs
from tests.cli.command import DEADLINE, Workplace, kill
from tests.endpoint import ScriptedEndpoint

ROWS = 40
KILLS = 4
CONFIG = f"""
[lm.default]
model = "openai/m"
api_key_env = ""
attempts = 5
retry_share = 1.0
price = {{ input = {INPUT / 1000}, output = {OUTPUT / 1000} }}
"""


async def test_nothing_recorded_is_asked_again_and_all_that_is_billed_is_in_the_books(tmp_path: Path) -> None:
    rng, audit = Random(6), Audit()
    place = Workplace(tmp_path, ScriptedEndpoint([]), {"PYTHONPATH": str(Path(__file__).parents[2])})
    place.write_rows({"document": document(number)} for number in range(ROWS))
    (tmp_path / "program.py").write_text("from benchmarks.kill_load import Report\n")
    command = place.arguments("--workers", "8", program="program.py:Report")
    journal = str(place.out / "journal.db")
    async with kill_endpoint(seed=6) as endpoint:
        (tmp_path / "config.toml").write_text(f'{CONFIG}base_url = "{endpoint.url}"\n')
        for moment in sorted(rng.sample(range(1, calls(ROWS)), KILLS)):
            process = await place.start(*command)
            async with asyncio.timeout(DEADLINE):
                await endpoint.reached(moment)
            await kill(process)
            await endpoint.quiet()
            audit.after_kill(await Books.copied(journal), endpoint.asked)
        ended = await place.call(*command)
        assert ended.status == 0, ended.stderr
        figures = audit.figures(await Books.copied(journal), endpoint.asked, ROWS)
    assert figures == dict.fromkeys(figures, 0)
    assert [line["outputs"] for line in place.results()] == [outputs(number) for number in range(ROWS)]
