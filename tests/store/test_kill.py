"""The store keeps what it acknowledged through `kill -9` of who writes at any moment."""

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
    while True:  # a snapshot, then six events, and again
        step = table.save if revision % 7 == 0 else table.append
        revision = await step(f"writer-{writer}", revision, 1, str(revision + 1))
        print(writer, revision, flush=True)

async def main():
    table = StateTable(await Store.open(sys.argv[1]))
    await asyncio.gather(*(write(table, writer) for writer in range(8)))

asyncio.run(main())
"""


def acknowledged_before_the_kill(location: str, lines: int) -> dict[str, int]:
    """Kill a writing process after it has told of so many writes; return the last one told of, by path."""
    command = [sys.executable, "-c", WRITING, location]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        told += process.stdout.readlines()
    whole = [line.split() for line in told if line.endswith("\n")]
    assert len(whole) >= lines
    return {f"writer-{writer}": int(revision) for writer, revision in whole}


@pytest.mark.parametrize("lines", [1, 40, 333])
async def test_a_killed_process_leaves_every_acknowledged_write(location: str, lines: int) -> None:
    acknowledged = acknowledged_before_the_kill(location, lines)
    if "://" not in location:
        assert integrity(Path(location)) == "ok"
    store = await Store.open(location)
    table = StateTable(store)
    for path, revision in acknowledged.items():
        stored = await table.load(path)
        assert stored is not None
        assert revision <= stored.revision <= revision + 1  # one more may have been committed, not yet told
        snapshot = (stored.revision - 1) // 7 * 7 + 1
        assert stored.data == str(snapshot)
        assert [event.data for event in stored.events] == [
            str(n) for n in range(snapshot + 1, stored.revision + 1)
        ]
    assert await asyncio.gather(*(table.save(f"new-{n}", 0, 1, "{}") for n in range(3))) == [1, 1, 1]
    await store.close()


def integrity(location: Path) -> str:
    connection = sqlite3.connect(location)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()
