"""Contents in databases: kept once, found with all that they refer to, refreshed by whoever uses them."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import delete, insert, select, update

from repertory.errors import StoreError
from repertory.store import ContentTable, Store
from repertory.store import content_table as subject
from repertory.store.content_table import REFRESH, write_contents
from repertory.store.contents import Json, Spiller, content_hash, references, restore, spill
from repertory.store.tables import contents, owners
from repertory.store.transactions import Connection
from repertory.testing import FakeClock
from tests.store.conftest import listen

AWKWARD: Json = {
    "text": "\0 ü 🦆 ' \" \\ %s :x ? $1 \ud83d " * 300,
    "large": 10**400,
    "list": [{"$content": "x"}] * 90,
}
HISTORY: list[Json] = [{"role": "user", "content": f"{number:>5} " * 40} for number in range(300)]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def table(store: Store, clock: FakeClock) -> ContentTable:
    return ContentTable(store, clock)


async def used_at(store: Store) -> dict[str, float]:
    return {row.hash: row.used_at for row in await store.read(select(contents.c.hash, contents.c.used_at))}


@pytest.mark.parametrize("value", [AWKWARD, HISTORY, {"history": HISTORY, "again": HISTORY[:100]}])
async def test_a_value_comes_back(table: ContentTable, witness: Store, clock: FakeClock, value: Json) -> None:
    spilled = spill(value)
    await table.put(spilled.contents)
    for each in (table, ContentTable(witness, clock)):
        found = await each.load(references(spilled.data))
        assert found == spilled.contents
        assert restore(spilled.data, found) == value


async def test_nothing_is_loaded_where_nothing_is_asked_for(table: ContentTable) -> None:
    assert await table.load(()) == {}
    await table.put({})


async def test_a_content_put_many_times_at_once_is_kept_once(
    table: ContentTable, store: Store, witness: Store, clock: FakeClock
) -> None:
    other = ContentTable(witness, clock)
    versions = [spill(HISTORY[:end]).contents for end in range(20, 60)]
    await asyncio.gather(*(each.put(version) for version in versions for each in (table, other)))
    assert len(await used_at(store)) == len({hash for version in versions for hash in version})


async def test_only_new_contents_of_a_longer_history_need_to_be_put(table: ContentTable) -> None:
    spiller = Spiller()
    for end in (100, 101, 250, 300):
        spilled = spiller.spill(HISTORY[:end])
        await table.put(spilled.contents)
        assert restore(spilled.data, await table.load(references(spilled.data))) == HISTORY[:end]


async def test_what_is_put_again_counts_as_used_then(table: ContentTable, store: Store, clock: FakeClock) -> None:
    await table.put({content_hash(b'["whole",1]'): b'["whole",1]'})
    began = clock.time()
    clock.advance(REFRESH)
    await table.put({content_hash(b'["whole",1]'): b'["whole",1]'})
    assert [*(await used_at(store)).values()] == [began]  # not worth a write
    clock.advance(1)
    await table.put({content_hash(b'["whole",1]'): b'["whole",1]'})
    assert [*(await used_at(store)).values()] == [clock.time()]


async def test_a_clock_that_is_behind_does_not_make_a_content_older(
    table: ContentTable, store: Store, witness: Store, clock: FakeClock
) -> None:
    await table.put({content_hash(b'["whole",1]'): b'["whole",1]'})
    behind = FakeClock(time=clock.time() - 10 * REFRESH)
    await ContentTable(witness, behind).put({content_hash(b'["whole",1]'): b'["whole",1]'})
    assert [*(await used_at(store)).values()] == [clock.time()]


async def test_a_history_is_loaded_in_few_queries(
    table: ContentTable, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    spilled = spill({"history": HISTORY})
    await table.put(spilled.contents)
    queries: list[object] = []
    listen(store, "before_cursor_execute", lambda *seen: queries.append(seen))
    await table.load(references(spilled.data))
    assert len(queries) <= 6  # the levels of the tree: three roots, two of full nodes, the items
    monkeypatch.setattr(subject, "QUERY", 7)
    assert await table.load(references(spilled.data)) == spilled.contents


async def test_a_content_that_is_missing_is_named(table: ContentTable, store: Store) -> None:
    spilled = spill(HISTORY[:10])
    await table.put(spilled.contents)
    for hash in spilled.contents:
        await store.write(delete(contents).where(contents.c.hash == hash), {})
        with pytest.raises(StoreError, match=f"content {hash} is missing from the store\n  Restore a backup"):
            await table.load(references(spilled.data))
        await table.put({hash: spilled.contents[hash]})


async def test_a_content_that_is_damaged_is_named(table: ContentTable, store: Store) -> None:
    spilled = spill("x" * 600)
    await table.put(spilled.contents)
    (hash,) = spilled.contents
    await store.write(update(contents).values(data='["whole","y"]'), {})
    with pytest.raises(StoreError, match=f"content {hash} is damaged"):
        await table.load([hash])


async def test_contents_are_put_in_the_transaction_of_what_refers_to_them(store: Store, witness: Store) -> None:
    async def both(connection: Connection, items: Sequence[str], /) -> list[None]:
        await write_contents(connection, spill("x" * 600).contents, 1.0)
        await write_contents(connection, {}, 1.0)
        await connection.execute(insert(owners), [{"id": item, "expires_at": 1.0} for item in items])
        return [None] * len(items)

    await store.submit(both, "one")
    with pytest.raises(StoreError):
        await store.submit(both, "one")
    assert [*(await used_at(witness)).values()] == [1.0]


async def test_a_lookup_and_a_put_do_not_read_the_whole_table(sqlite_store: Store) -> None:
    seen: list[tuple[str, tuple[object, ...]]] = []
    engine = sqlite_store._engine

    def see(
        _connection: object, _cursor: object, statement: str, parameters: tuple[object, ...], *_: object
    ) -> None:
        seen.append((statement, parameters))

    listen(sqlite_store, "before_cursor_execute", see)
    table = ContentTable(sqlite_store, FakeClock())
    new = {content_hash(content): content for content in (b'["whole",%d]' % number for number in range(300))}
    await table.put(new)
    await table.load(new)
    async with engine.connect() as connection:
        assert len(seen) == 2
        for statement, parameters in seen[:]:
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            assert not [row.detail for row in plan if row.detail.startswith("SCAN contents")]
