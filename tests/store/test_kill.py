"""The store survives `kill -9` at any moment."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from repertory.store import StateTable, Store

WRITING = """
import asyncio, sys
from repertory.store import StateTable, Store

async def write(table, writer):
    revision = 0
    while True:
        revision = await table.save(f"writer-{writer}", revision, 1, str(revision + 1))
        print(writer, revision, flush=True)

async def main():
    table = StateTable(await Store.open(sys.argv[1]))
    await asyncio.gather(*(write(table, writer) for writer in range(8)))

asyncio.run(main())
"""


def acknowledged_before_the_kill(location: Path, lines: int) -> dict[str, int]:
    """Kill a writing process after it has told of so many writes; return the last one told of, by path."""
    command = [sys.executable, "-c", WRITING, str(location)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        told += process.stdout.readlines()
    whole = [line.split() for line in told if line.endswith("\n")]
    assert len(whole) >= lines
    return {f"writer-{writer}": int(revision) for writer, revision in whole}


@pytest.mark.parametrize("lines", [1, 40, 333])
async def test_a_killed_process_leaves_every_acknowledged_write(location: Path, lines: int) -> None:
    acknowledged = acknowledged_before_the_kill(location, lines)
    connection = sqlite3.connect(location)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    store = await Store.open(location)
    table = StateTable(store)
    for path, revision in acknowledged.items():
        stored = await table.load(path)
        assert stored is not None
        assert revision <= stored.revision <= revision + 1  # one more may have been committed, not yet told
        assert stored.data == str(stored.revision)
    assert await asyncio.gather(*(table.save(f"new-{n}", 0, 1, "{}") for n in range(3))) == [1, 1, 1]
    await store.close()
