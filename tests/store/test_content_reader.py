"""Values of one run, read one after the other."""

from collections.abc import Iterable, Mapping

import pytest

from repertory.store import Store
from repertory.store import content_reader as subject
from repertory.store.content_reader import ContentReader
from repertory.store.content_table import NONE, ContentTable
from repertory.store.contents import Json, Spiller, references
from repertory.testing import FakeClock

HISTORY: list[Json] = [{"role": "user", "content": f"{number:>5} " * 40} for number in range(100)]


class Counted(ContentTable):
    """Tells how many contents were read."""

    read = 0

    async def load(self, hashes: Iterable[str], known: Mapping[str, bytes] = NONE) -> dict[str, bytes]:
        found = await super().load(hashes, known)
        self.read += len(found.keys() - known.keys())
        return found


async def spilled(table: ContentTable, values: Iterable[Json]) -> list[Json]:
    spiller, datas = Spiller(), []
    for value in values:
        each = spiller.spill(value)
        await table.put(each.contents)
        datas.append(each.data)
    return datas


async def test_what_a_value_has_in_common_with_the_one_before_is_not_read_again(store: Store) -> None:
    table = Counted(store, FakeClock())
    reader = ContentReader(table)
    for end, data in enumerate(await spilled(table, [HISTORY[:end] for end in range(1, 100)]), 1):
        assert await reader.restore(data) == HISTORY[:end]
    assert table.read < 500  # of each its own root and item; the histories as they are have 5000 items


async def test_no_more_is_held_than_may_be(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "HELD", 4000)
    table = Counted(store, FakeClock())
    reader = ContentReader(table)
    (data,) = await spilled(table, [HISTORY])
    contents = len(await ContentTable(store, FakeClock()).load(references(data)))
    for times in (1, 2):
        assert await reader.restore(data) == HISTORY
        assert table.read == times * contents


async def test_values_of_a_reader_that_shares_have_equal_parts_once(store: Store) -> None:
    table = ContentTable(store, FakeClock())
    first, second = await spilled(table, [HISTORY[:50], HISTORY[:60]])
    for shared in (True, False):
        reader = ContentReader(table, shared=shared)
        one, other = await reader.restore(first), await reader.restore(second)
        assert isinstance(one, list)
        assert isinstance(other, list)
        assert (one[0] is other[0]) == shared
        assert other == HISTORY[:60]


async def test_what_is_not_spilled_needs_no_store(store: Store) -> None:
    reader = ContentReader(ContentTable(store, FakeClock()))
    assert await reader.restore({"a": [1, {"$content": "in a list it is none"}]}) == {
        "a": [1, {"$content": "in a list it is none"}]
    }
