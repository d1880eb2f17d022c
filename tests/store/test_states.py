"""Compare-and-set of actors' states."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, lists, tuples

from repertory.errors import StaleState
from repertory.store import StateTable, Store


async def test_a_state_that_was_never_saved_is_none(store: Store) -> None:
    assert await StateTable(store).load("nobody") is None


async def test_each_save_raises_the_revision_by_one(store: Store) -> None:
    table = StateTable(store)
    assert [await table.save("a", revision, 1, "{}") for revision in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("expected", [0, 1, 3, 99])
async def test_a_save_from_any_other_revision_is_refused_and_changes_nothing(store: Store, expected: int) -> None:
    table = StateTable(store)
    for revision in range(2):
        await table.save("a", revision, 7, '"kept"')
    with pytest.raises(StaleState, match=f"a: its state is no longer at revision {expected}") as caught:
        await table.save("a", expected, 8, '"lost"')
    assert caught.value.hint
    stored = await table.load("a")
    assert stored is not None
    assert (stored.revision, stored.schema_version, stored.data) == (2, 7, '"kept"')


async def test_of_many_savers_at_one_revision_exactly_one_wins(location: Path, store: Store) -> None:
    other = await Store.open(location)
    tables = [StateTable(store), StateTable(other)]
    for revision in range(5):
        outcomes = await asyncio.gather(
            *(tables[n % 2].save("a", revision, 1, str(n)) for n in range(20)), return_exceptions=True
        )
        winners = [n for n, outcome in enumerate(outcomes) if outcome == revision + 1]
        assert len(winners) == 1
        assert sum(isinstance(outcome, StaleState) for outcome in outcomes) == 19
        stored = await tables[0].load("a")
        assert stored is not None
        assert stored.data == str(winners[0])
    await other.close()


@settings(max_examples=20, deadline=None)
@given(history=lists(tuples(integers(0, 2), integers(0, 3)), max_size=12))
def test_a_history_of_saves_agrees_with_a_dict(
    tmp_path_factory: pytest.TempPathFactory, history: list[tuple[int, int]]
) -> None:
    async def run() -> None:
        store = await Store.open(tmp_path_factory.mktemp("states") / "repertory.db")
        table = StateTable(store)
        model: dict[str, tuple[int, str]] = {}
        for step, (actor, expected) in enumerate(history):
            path = f"a{actor}"
            if model.get(path, (0, ""))[0] == expected:
                assert await table.save(path, expected, 1, str(step)) == expected + 1
                model[path] = (expected + 1, str(step))
            else:
                with pytest.raises(StaleState):
                    await table.save(path, expected, 1, str(step))
        for path, (revision, data) in model.items():
            stored = await table.load(path)
            assert stored is not None
            assert (stored.revision, stored.data) == (revision, data)
        await store.close()

    asyncio.run(run())
