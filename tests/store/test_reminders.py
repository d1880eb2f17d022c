"""Durable reminders, in memory and in databases."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from repertory.store import MemoryReminders, ReminderRow, ReminderRows, ReminderTable, Store
from tests.store.conftest import new_location


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def rows(request: pytest.FixtureRequest) -> AsyncIterator[ReminderRows]:
    if request.param == "memory":
        yield MemoryReminders()
        return
    store = await Store.open(new_location(request.param, request))
    yield ReminderTable(store)
    await store.close()


async def test_reminders_come_in_the_order_of_their_times(rows: ReminderRows) -> None:
    await rows.put("b", "x", 30.5, None)
    await rows.put("a", "y", 10.25, 60.0)
    await rows.put("a", "x", 20.0, 0.5)
    await rows.put("c", "x", 20.0, None)
    everything = [
        ReminderRow("a", "y", 10.25, 60.0),
        ReminderRow("a", "x", 20.0, 0.5),
        ReminderRow("c", "x", 20.0, None),
        ReminderRow("b", "x", 30.5, None),
    ]
    assert await rows.all() == everything
    assert await rows.due_before(10.25) == []
    assert await rows.due_before(20.5) == everything[:3]


async def test_a_reminder_replaces_the_one_of_its_name(rows: ReminderRows) -> None:
    await rows.put("a", "x", 10.0, 5.0)
    await rows.put("a", "x", 20.0, None)
    assert await rows.all() == [ReminderRow("a", "x", 20.0, None)]


async def test_a_deleted_reminder_is_gone_and_no_other(rows: ReminderRows) -> None:
    for path, name in (("a", "x"), ("a", "y"), ("b", "x")):
        await rows.put(path, name, 1.0, None)
    await rows.delete("a", "x")
    await rows.delete("nobody", "x")
    assert [(row.path, row.name) for row in await rows.all()] == [("a", "y"), ("b", "x")]


async def test_a_reminder_that_was_put_off_meanwhile_is_not_deleted(rows: ReminderRows) -> None:
    due_at = 1_800_000_000.123457
    await rows.put("a", "x", due_at, None)
    await rows.put("a", "y", due_at, None)
    await rows.put("a", "y", due_at + 1e-6, None)
    await rows.delete("a", "x", due_at)
    await rows.delete("a", "y", due_at)
    assert [row.name for row in await rows.all()] == ["y"]


async def test_what_is_asked_for_first_is_done_first(rows: ReminderRows) -> None:
    await asyncio.gather(
        rows.put("a", "x", 1.0, None),
        rows.put("a", "x", 2.0, None),
        rows.delete("a", "x", 1.0),
        rows.put("b", "x", 1.0, None),
        rows.delete("b", "x", 1.0),
        rows.delete("b", "x"),
        rows.put("c", "x", 1.0, None),
        rows.delete("c", "x"),
        rows.put("c", "x", 3.0, 4.0),
    )
    assert await rows.all() == [ReminderRow("a", "x", 2.0, None), ReminderRow("c", "x", 3.0, 4.0)]


async def test_reminders_outlive_the_process(location: str) -> None:
    store = await Store.open(location)
    await ReminderTable(store).put("a", "x", 1.5, 2.5)
    await store.close()
    store = await Store.open(location)
    assert await ReminderTable(store).all() == [ReminderRow("a", "x", 1.5, 2.5)]
    await store.close()
