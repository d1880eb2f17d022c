"""``repertory run`` killed while it runs the packaged model leaves no process behind."""

import os
import re
import select
from pathlib import Path

import pytest

from tests.cli.command import DEADLINE, until, workplace


@pytest.mark.local_model
async def test_no_model_outlives_a_killed_run(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        place.write_rows({"text": f"Tell a long story about the number {number}."} for number in range(50))
        log = tmp_path / "stderr"
        with log.open("wb") as stderr:
            process = await place.start("run", "program.py:echo", "data.jsonl", "--lm", "local", stderr=stderr)
        await until(lambda: "answers at" in log.read_text(), process)
        found = re.search(r"pid (\d+)", log.read_text())
        assert found is not None
        model = os.pidfd_open(int(found[1]))
        try:
            await until(lambda: (place.out / "results.jsonl").exists(), process)
            process.kill()
            await process.communicate()
            ended, _, _ = select.select([model], [], [], DEADLINE)
        finally:
            os.close(model)
        assert ended
        assert place.asked == []
