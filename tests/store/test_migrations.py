"""Stores of every released version, opened by this one."""

import asyncio
import json
import random
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, inspect, select, text

from repertory.store import StateTable, Store
from repertory.store.location import engine_at
from repertory.store.tables import (
    SCHEMA_VERSION,
    actor_reminders,
    ledger_accounts,
    ledger_holders,
    ledger_reservations,
    lm_replies,
    run_events,
    runs,
)
from tests.store.released import RELEASED, restore_file

OK, FAILED, ACCEPTED, INTERRUPTED = (
    "6bd3097d3704c8478005eb7f9a4c85b4",
    "5215c744b6a410850e24b04baa989007",
    "ba1573330b9b95236f710c281dd9e316",
    "e2918560d565abf1f4c4265fc50b6bb1",
)


# --- what was in it ------------------------------------------------------------------------------------------


async def test_steps_become_events_of_their_runs(released: tuple[str, str]) -> None:
    store = await Store.open(released[1])
    assert await version_of(store) == SCHEMA_VERSION == 4
    begun, ended = 1790000000.25, 1790000000.5
    facts = {"facts": ["größer", "a\tb"], "weight": 1e-05}
    written = {"report": "done \u2028 \a"}
    assert await events_of(store, OK) == [
        (1, "accepted", {}, begun),
        (2, "step", step("self.facts", "0eb5b8d6", 0, facts, 1, [120, 30], 0.25), begun),
        (3, "step", step("self.facts", "0eb5b8d6", 1, {"facts": []}, 1, [120, 31], 1.5), begun),
        (4, "step", step("self.write['x'].predict", "a8950f05", 0, written, 2, [9, 8], 12.0), begun),
        (5, "done", {"status": "ok"}, ended),
    ]
    begun, ended = 1790000000.75, 1790000001.0
    large = {"facts": None, "n": 12345678901234567890}
    assert await events_of(store, FAILED) == [
        (1, "accepted", {}, begun),
        (2, "step", step("self.facts", "fd2079a3", 0, large, 0, [0, 0], 0.0), begun),
        (3, "done", {"status": "failed"}, ended),
    ]
    assert await events_of(store, ACCEPTED) == [(1, "accepted", {}, 1790000001.25)]
    begun = 1790000001.5
    refund = {"label": "refund", "sure": True}
    assert await events_of(store, INTERRUPTED) == [
        (1, "accepted", {}, begun),
        (2, "step", step("self", "65b1c6ea", 0, refund, 4, [50, 5], 0.125), begun),
    ]
    await store.close()


def step(
    predictor: str,
    asked: str,
    occurrence: int,
    outputs: object,
    version: int,
    usage: list[int],
    seconds: float,
) -> dict[str, object]:
    """What an event tells of a step."""
    return {
        "step": predictor,
        "asked": asked,
        "occurrence": occurrence,
        "outputs": outputs,
        "version": version,
        "usage": usage,
        "calls": 1,
        "seconds": seconds,
    }


async def events_of(store: Store, run: str) -> list[tuple[int, str, dict[str, Any], float]]:
    """A run's events, the hashes in them cut short."""
    rows = await store.read(select(run_events).where(run_events.c.run_id == run).order_by(run_events.c.id))
    events = [(row.id, row.kind, json.loads(row.data), row.at) for row in rows]
    for _, _, data, _ in events:
        if "asked" in data:
            assert len(data["asked"]) == 64
            data["asked"] = data["asked"][:8]
    return events


async def version_of(store: Store) -> int:
    """As every version reads it, also the first."""
    ((version,),) = await store.read(text("SELECT schema_version FROM store_info"))
    assert isinstance(version, int)
    return version


async def test_runs_are_as_they_were_and_have_no_owner(released: tuple[str, str]) -> None:
    store = await Store.open(released[1])
    found = {row.id: dict(row._mapping) for row in await store.read(select(runs))}
    assert {id: row["status"] for id, row in found.items()} == {
        OK: "ok",
        FAILED: "failed",
        ACCEPTED: "accepted",
        INTERRUPTED: "accepted",
    }
    assert found[OK] == {
        **{"id": OK, "program": "report", "key": "first", "status": "ok"},
        "fingerprint": "056c60512c61e06ce578b45d509d8cd47603ea530cddb41e04ddefe5bb69e0ee",
        **{"inputs": '{"document":"Übergröße 🐘 \\"quoted\\"\\nline"}', "outputs": '{"report":"done"}'},
        **{"error_code": None, "error_message": None, "input_tokens": 249, "output_tokens": 69, "lm_calls": 3},
        **{"seconds": 14.125, "accepted_at": 1790000000.25, "finished_at": 1790000000.5},
        **{"code": None, "owner": None, "submitted": False, "terms": None, "deadline_at": None, "parent": None},
        "priority": 1,
        **{"nano_cost": 0, "uncertain_calls": 0, "nano_uncertain": 0, "tags": None, "compacted_at": None},
    }
    failed = found[FAILED]
    assert (failed["error_code"], failed["error_message"]) == ("config_invalid", "no model under that name")
    assert (failed["input_tokens"], failed["lm_calls"], failed["seconds"]) == (7, 2, 0.5)
    await store.close()


async def test_states_reminders_ledger_and_replies_are_as_they_were(released: tuple[str, str]) -> None:
    release, location = released
    store = await Store.open(location)
    states = StateTable(store)
    facts, triage = await states.load("programs/report/self.facts"), await states.load("programs/triage/self")
    assert facts is not None
    assert triage is not None
    assert (facts.revision, facts.schema_version, facts.data, facts.events) == (2, 1, '{"version":2}', ())
    assert (triage.schema_version, triage.data) == (3, '{"label":"größer"}')
    began_as = int(release[-1])
    assert [event.data for event in triage.events] == (['{"event":1}'] if began_as >= 2 else [])
    reminders = await store.read(select(actor_reminders))
    assert [tuple(row) for row in reminders] == (
        [("programs/triage/self", "sweep", 1790003600.0, 60.0)] if began_as >= 2 else []
    )
    kept = [await store.read(select(table)) for table in (ledger_accounts, ledger_holders, ledger_reservations)]
    kept.append(await store.read(select(lm_replies)))
    assert [[tuple(row) for row in rows] for rows in kept] == (
        [
            [("team", 5_000_000_000, None, 1_250_000_000, 7, 0, 0, 0, 0, 0)],
            [("0" * 31 + "a", 1790000030.0)],
            [("0" * 31 + "a", 1, '["team"]', 10, 3)],
            [("f" * 64, '{"text":"yes"}', 1790000000.0, 1790086400.0)],
        ]
        if began_as >= 3
        else [[], [], [], []]
    )
    assert await states.save("programs/triage/self", triage.revision, 3, "{}") == triage.revision + 1
    await store.close()


async def test_a_run_takes_its_events_with_it(released: tuple[str, str]) -> None:
    store = await Store.open(released[1])
    await store.write(runs.delete().where(runs.c.id != INTERRUPTED), {})
    assert {row.run_id for row in await store.read(select(run_events))} == {INTERRUPTED}
    await store.close()


async def test_events_are_numbered_without_a_gap_across_the_pages_they_are_read_in(of_version_3: str) -> None:
    counts = {f"{number:032x}": count for number, count in enumerate([0, 1, 199, 200, 201, 0, 450])}
    await add_steps(of_version_3, counts)
    store = await Store.open(of_version_3)
    for run, count in counts.items():
        events = await events_of(store, run)
        assert [id for id, *_ in events] == list(range(1, count + 2))
        assert [data["occurrence"] for _, kind, data, _ in events if kind == "step"] == list(range(count))
    await store.close()


async def add_steps(location: str, counts: dict[str, int], outputs: str = "{}") -> None:
    """Add runs with so many steps to a store of version 3, in no order."""
    run = (
        "INSERT INTO runs (id, program, key, fingerprint, inputs, status, accepted_at, input_tokens,"
        " output_tokens, lm_calls) VALUES (:run, 'p', :run, '', '{}', 'accepted', 1, 0, 0, 0)"
    )
    step = "INSERT INTO steps VALUES (:run, 'self', :hash, :n, :outputs, 1, 1, 1, 0.5)"
    common = {"hash": "0" * 64, "outputs": outputs}
    steps = [{"run": run, "n": n, **common} for run, count in counts.items() for n in range(count)]
    random.Random(1).shuffle(steps)
    engine = engine_at(location)
    async with engine.begin() as connection:
        await connection.execute(text(run), [{"run": run} for run in counts])
        await connection.execute(text(step), steps)
    await engine.dispose()


@pytest.mark.slow
async def test_many_steps_are_turned_into_events_in_bounded_memory(of_version_3: str) -> None:
    large = '{"text":"' + "x" * 2_000 + '"}'  # 200 MB in all
    await add_steps(of_version_3, {f"{run:032x}": 1_000 for run in range(100)}, large)
    tracemalloc.start()
    store = await Store.open(of_version_3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    ((count,),) = await store.read(select(func.count()).select_from(run_events))
    assert count == 100_100 + 4 + 5 + 2
    assert peak < 20_000_000
    await store.close()


# --- how it is opened ----------------------------------------------------------------------------------------


KILLED = """
import asyncio, os, signal, sys
from sqlalchemy import Engine, event
from repertory.store import Store

@event.listens_for(Engine, "commit")
def die(connection):
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(Store.open(sys.argv[1]))
"""


def test_an_upgrade_that_was_killed_before_its_commit_leaves_the_old_version(of_version_3: str) -> None:
    before = asyncio.run(everything(of_version_3))
    killed = subprocess.run([sys.executable, "-c", KILLED, of_version_3], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert asyncio.run(everything(of_version_3)) == before
    assert asyncio.run(upgraded(of_version_3)) == (4, 5)


async def upgraded(location: str) -> tuple[int, int]:
    """The version of the opened store, and how many events a run has that had three steps."""
    store = await Store.open(location)
    try:
        return await version_of(store), len(await events_of(store, OK))
    finally:
        await store.close()


async def everything(location: str) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables, whatever those are."""
    engine = engine_at(location)
    async with engine.connect() as connection:
        tables = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        found = {table: (await connection.execute(text(f"SELECT * FROM {table}"))).all() for table in tables}
    await engine.dispose()
    return {table: sorted((tuple(row) for row in rows), key=repr) for table, rows in found.items()}


OPENING = """
import asyncio, sys
from repertory.store import Store

async def main():
    sys.stdin.readline()
    await (await Store.open(sys.argv[1])).close()

print("ready", flush=True)
asyncio.run(main())
"""


def test_an_old_store_may_be_opened_by_several_processes_at_once(of_version_3: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPENING, of_version_3], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    assert [process.stdout.readline() for process in processes if process.stdout is not None] == ["ready\n"] * 3
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0] * 3
    assert asyncio.run(upgraded(of_version_3)) == (4, 5)


async def test_two_old_stores_may_be_upgraded_at_once_in_one_process(tmp_path: Path) -> None:
    paths = [tmp_path / f"{release}.db" for release in RELEASED["sqlite"]]
    for path in paths:
        restore_file(path.stem, path)
    stores = await asyncio.gather(*(Store.open(path) for path in paths))
    assert [len(await events_of(store, OK)) for store in stores] == [5] * len(paths)
    await asyncio.gather(*(store.close() for store in stores))


QUICK = """
import asyncio, sys
from repertory.store import Store

async def main():
    for _ in range(2):  # a new one, and one that is there
        await (await Store.open(sys.argv[1])).close()

asyncio.run(main())
print("alembic" in sys.modules)
"""


def test_a_store_that_needs_no_upgrade_is_opened_without_alembic(location: str) -> None:
    opened = subprocess.run(
        [sys.executable, "-c", QUICK, location], check=True, capture_output=True, text=True, timeout=60
    )
    assert opened.stdout == "False\n"
