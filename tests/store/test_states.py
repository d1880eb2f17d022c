"""Actors' states: snapshots and events under one revision, in memory and in databases."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis.strategies import booleans, integers, lists, tuples
from sqlalchemy import delete, select

from repertory.errors import StaleState
from repertory.store import MemoryStates, States, StateTable, Store, StoredEvent, StoredState
from repertory.store.tables import actor_events, actor_states
from tests.store.conftest import busy, listen, new_location


@pytest.fixture
async def store(location: str) -> AsyncIterator[Store | None]:
    """None: there is no database."""
    store = await Store.open(location) if location else None
    yield store
    if store is not None:
        await store.close()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def location(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "memory" else new_location(request.param, request)


@pytest.fixture
def states(store: Store | None) -> States:
    return StateTable(store) if store is not None else MemoryStates()


databases_only = pytest.mark.parametrize("location", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
async def other(store: Store | None, location: str, states: States) -> AsyncIterator[States]:
    """The same states as another process has them; those in memory have no other."""
    if store is None:
        yield states
        return
    opened = await Store.open(location)
    yield StateTable(opened)
    await opened.close()


async def test_a_state_that_was_never_saved_is_none(states: States) -> None:
    assert await states.load("nobody") is None


async def test_each_save_raises_the_revision_by_one(states: States) -> None:
    assert [await states.save("a", revision, 1, "{}") for revision in range(3)] == [1, 2, 3]


async def test_snapshots_and_events_share_one_sequence_of_revisions(states: States) -> None:
    assert await states.append("a", 0, 1, "e1") == 1
    assert await states.append("a", 1, 1, "e2") == 2
    assert await states.load("a") == StoredState(2, 1, None, (StoredEvent(1, "e1"), StoredEvent(1, "e2")))
    assert await states.save("a", 2, 2, "s3") == 3
    assert await states.load("a") == StoredState(3, 2, "s3")
    assert await states.append("a", 3, 3, "e4") == 4
    assert await states.append("a", 4, 4, "e5") == 5
    assert await states.load("a") == StoredState(5, 2, "s3", (StoredEvent(3, "e4"), StoredEvent(4, "e5")))


@pytest.mark.parametrize("way", ["save", "append"])
@pytest.mark.parametrize("expected", [0, 1, 3, 99])
async def test_a_write_from_any_other_revision_is_refused_and_changes_nothing(
    states: States, expected: int, way: str
) -> None:
    await states.save("a", 0, 7, '"kept"')
    await states.append("a", 1, 8, "too")
    with pytest.raises(StaleState, match=f"a: its state is no longer at revision {expected}") as caught:
        await getattr(states, way)("a", expected, 9, '"lost"')
    assert caught.value.hint
    assert await states.load("a") == StoredState(2, 7, '"kept"', (StoredEvent(8, "too"),))


@pytest.mark.parametrize("way", ["save", "append"])
async def test_a_write_to_a_revision_that_never_was_is_refused(states: States, way: str) -> None:
    with pytest.raises(StaleState):
        await getattr(states, way)("a", 1, 1, "{}")
    assert await states.load("a") is None
    assert await getattr(states, way)("a", 0, 1, "{}") == 1


@databases_only
@pytest.mark.parametrize("way", ["save", "append"])
async def test_a_state_that_was_deleted_does_not_come_back(store: Store, states: States, way: str) -> None:
    for revision in range(3):
        await states.save("a", revision, 1, "{}")
    await store.write(delete(actor_states), {})
    with pytest.raises(StaleState):
        await getattr(states, way)("a", 3, 1, "{}")
    assert await states.load("a") is None


async def test_a_stale_life_is_refused_after_its_events_were_pruned_too(states: States, other: States) -> None:
    for revision in range(3):
        await states.append("a", revision, 1, str(revision))
    await other.save("a", 3, 1, "all")
    for way in (states.append, states.save):
        for expected in range(4):
            with pytest.raises(StaleState):
                await way("a", expected, 1, "late")
    assert await states.load("a") == StoredState(4, 1, "all")


@databases_only
async def test_no_event_is_left_under_a_snapshot(store: Store, states: States) -> None:
    for path in ("a", "b"):
        for revision in range(3):
            await states.append(path, revision, 1, "{}")
    await states.save("a", 3, 1, "{}")
    assert [tuple(row) for row in await store.read(select(actor_events.c.path, actor_events.c.revision))] == [
        ("b", 1),
        ("b", 2),
        ("b", 3),
    ]


async def test_writes_that_do_not_wait_for_each_other_keep_their_order(states: States) -> None:
    writes = [
        states.save("a", revision, 1, f"s{revision}")
        if revision % 3 == 0
        else states.append("a", revision, 1, f"e{revision}")
        for revision in range(8)
    ]
    assert await asyncio.gather(*writes) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert await states.load("a") == StoredState(8, 1, "s6", (StoredEvent(1, "e7"),))


@pytest.mark.parametrize("way", ["save", "append"])
async def test_of_many_writers_at_one_revision_exactly_one_wins(states: States, other: States, way: str) -> None:
    tables = [states, other]
    for revision in range(5):
        outcomes = await asyncio.gather(
            *(getattr(tables[n % 2], way)("a", revision, 1, str(n)) for n in range(20)), return_exceptions=True
        )
        winners = [n for n, outcome in enumerate(outcomes) if outcome == revision + 1]
        assert len(winners) == 1
        assert sum(isinstance(outcome, StaleState) for outcome in outcomes) == 19
        stored = await states.load("a")
        assert stored is not None
        assert stored.revision == revision + 1
        assert (stored.events[-1].data if way == "append" else stored.data) == str(winners[0])


async def test_of_an_event_and_a_snapshot_at_one_revision_exactly_one_wins(states: States, other: States) -> None:
    for revision in range(20):
        outcomes = await asyncio.gather(
            states.append("a", revision, 1, "e"), other.save("a", revision, 1, "s"), return_exceptions=True
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["StaleState", "int"]
        stored = await other.load("a")
        assert stored is not None
        assert stored.revision == revision + 1
        assert (stored.data == "s" and not stored.events) == isinstance(outcomes[0], StaleState)


async def test_two_processes_that_write_to_the_same_actors_do_not_wait_for_each_other(
    states: States, other: States
) -> None:
    paths = [f"a{number}" for number in range(30)]
    for revision in range(10):
        outcomes = await asyncio.gather(
            *(states.append(path, revision, 1, "1") for path in paths),
            *(other.append(path, revision, 1, "2") for path in reversed(paths)),
            return_exceptions=True,
        )
        assert sum(outcome == revision + 1 for outcome in outcomes) == 30
        assert sum(isinstance(outcome, StaleState) for outcome in outcomes) == 30


@databases_only
async def test_many_actors_are_saved_by_a_handful_of_statements(store: Store, states: States) -> None:
    await states.save("warm", 0, 1, "{}")
    statements: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    listen(store, "before_cursor_execute", count)
    for revision in range(3):
        async with busy(store):
            saves = [asyncio.ensure_future(states.save(f"s{number}", revision, 1, "{}")) for number in range(300)]
            events = [
                asyncio.ensure_future(states.append(f"e{number}", revision, 1, "{}")) for number in range(300)
            ]
            await asyncio.sleep(0)  # all of them have been submitted
        await asyncio.gather(*saves, *events)
    assert len(statements) == 9


@databases_only
@pytest.mark.parametrize("data", ["\ud800", object(), None], ids=["lone surrogate", "no SQL type", "null"])
async def test_a_write_that_cannot_be_made_fails_alone(states: States, data: Any) -> None:
    outcomes = await asyncio.gather(
        states.save("a", 0, 1, "{}"),
        states.append("bad", 0, 1, data),
        states.append("b", 0, 1, "{}"),
        return_exceptions=True,
    )
    assert [type(outcome).__name__ for outcome in outcomes] == ["int", "StoreError", "int"]
    assert await states.load("bad") is None  # the head is not moved without its event
    assert await states.load("b") == StoredState(1, 1, None, (StoredEvent(1, "{}"),))


@databases_only
async def test_a_load_sees_the_writes_that_are_on_their_way(states: States) -> None:
    for revision in range(0, 40, 2):
        saving = states.save("a", revision, 1, "{}")
        appending = states.append("a", revision + 1, 1, "{}")
        stored = await states.load("a")
        assert stored is not None
        assert stored.revision == revision + 2
        assert [saving.done(), appending.done()] == [True, True]


async def test_any_text_comes_back_as_it_was(states: States) -> None:
    text = '{"a": "\\"quoted\\" \\u0000 \\\\ ü 🦆 %s :x ? \'"}\n'
    await states.save("sp ace/ü/🦆'", 0, 1, text)
    await states.append("sp ace/ü/🦆'", 1, 1, text)
    assert await states.load("sp ace/ü/🦆'") == StoredState(2, 1, text, (StoredEvent(1, text),))


async def test_revisions_do_not_end_at_32_bits(states: States) -> None:
    many = 2**40
    if isinstance(states, MemoryStates):
        assert await states.save("a", 0, 1, "{}") == 1
        return
    assert isinstance(states, StateTable)
    await states._store.write(
        actor_states.insert(), {"path": "a", "revision": many, "schema_version": 1, "data": "{}"}
    )
    assert await states.append("a", many, 1, "{}") == many + 1
    assert await states.save("a", many + 1, 1, "{}") == many + 2


async def test_memory_never_suspends() -> None:
    states = MemoryStates()
    assert states.save("a", 0, 1, "{}").done()
    assert states.append("a", 1, 1, "{}").done()
    loading = states.load("a")
    with pytest.raises(StopIteration) as ended:
        loading.send(None)
    assert ended.value.value == StoredState(2, 1, "{}", (StoredEvent(1, "{}"),))


@dataclass
class Model:
    """A history by hand."""

    revision: int = 0
    snapshot: str | None = None
    events: tuple[str, ...] = ()


HISTORIES = lists(tuples(integers(0, 2), integers(-1, 1), booleans()), max_size=25)


async def check(states: States, history: list[tuple[int, int, bool]], prefix: str) -> None:
    """Each step is a write of an actor, at its revision or one beside it, of an event or a snapshot."""
    model = {f"{prefix}{actor}": Model() for actor in range(3)}
    for step, (actor, offset, is_event) in enumerate(history):
        path = f"{prefix}{actor}"
        now = model[path]
        expected = max(0, now.revision + offset)
        write = (states.append if is_event else states.save)(path, expected, 1, str(step))
        if expected != now.revision:
            with pytest.raises(StaleState):
                await write
        else:
            assert await write == now.revision + 1
            snapshot, events = (now.snapshot, (*now.events, str(step))) if is_event else (str(step), ())
            model[path] = Model(now.revision + 1, snapshot, events)
    for path, now in model.items():
        stored = await states.load(path)
        if now.revision == 0:
            assert stored is None
            continue
        assert stored is not None
        assert (stored.revision, stored.data) == (now.revision, now.snapshot)
        assert tuple(event.data for event in stored.events) == now.events


@given(history=HISTORIES)
def test_a_history_in_memory_agrees_with_one_by_hand(history: list[tuple[int, int, bool]]) -> None:
    asyncio.run(check(MemoryStates(), history, ""))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_history_in_a_database_agrees_with_one_by_hand(kind: str, request: pytest.FixtureRequest) -> None:
    with asyncio.Runner() as runner:
        store = runner.run(Store.open(new_location(kind, request)))
        prefixes = iter(range(1_000_000))

        @settings(max_examples=40)
        @given(history=HISTORIES)
        def agrees(history: list[tuple[int, int, bool]]) -> None:
            runner.run(check(StateTable(store), history, f"{next(prefixes)}/"))

        agrees()
        runner.run(store.close())
