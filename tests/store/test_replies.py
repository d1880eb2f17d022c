"""Answers of language models in databases."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis.strategies import integers, lists, sampled_from, tuples
from sqlalchemy import update

from repertory.errors import StoreError
from repertory.store import Replies, ReplyTable, Store, StoredReply
from repertory.store.tables import lm_replies
from tests.store.conftest import listen, new_location


@pytest.fixture
def replies(store: Store) -> Replies:
    return ReplyTable(store)


def one(key: str = "k", data: str = "{}", made_at: float = 10.0, kept_until: float = 20.0) -> StoredReply:
    return StoredReply(key, data, made_at, kept_until)


async def test_an_answer_that_was_never_put_is_none(replies: Replies) -> None:
    assert await replies.get("k") is None


async def test_an_answer_comes_back_as_it_was_put(replies: Replies, witness: Store) -> None:
    reply = one("f" * 64, '{"a": "\\u0000 ü 🦆 \' %s :x ?"}\n', 1_800_000_000.123457, 1_800_000_001.654321)
    await replies.put(reply)
    assert await replies.get(reply.key) == reply
    assert await ReplyTable(witness).get(reply.key) == reply
    assert await replies.get("F" * 64) is None


async def test_an_answer_replaces_the_one_of_its_key(replies: Replies, witness: Store) -> None:
    await replies.put(one(data="1"))
    await ReplyTable(witness).put(one(data="2", made_at=11.0, kept_until=21.0))
    assert await replies.get("k") == one(data="2", made_at=11.0, kept_until=21.0)


async def test_of_answers_put_at_the_same_time_the_last_is_kept(replies: Replies) -> None:
    await asyncio.gather(*(replies.put(one(key, data)) for key in "ab" for data in "123"))
    assert await asyncio.gather(*map(replies.get, "ab")) == [one("a", "3"), one("b", "3")]


async def test_what_nobody_wants_any_more_is_deleted(replies: Replies) -> None:
    for number in range(5):
        await replies.put(one(f"k{number}", kept_until=float(number)))
    await asyncio.gather(*map(replies.delete_before, (1.0, 2.0, 0.0)))
    assert [bool(await replies.get(f"k{number}")) for number in range(5)] == [False, False, True, True, True]


async def test_an_answer_put_anew_while_old_ones_are_deleted_stays(replies: Replies) -> None:
    await asyncio.gather(replies.put(one("a", kept_until=1.0)), replies.put(one("b", kept_until=1.0)))
    await asyncio.gather(replies.delete_before(5.0), replies.put(one("a", "new", kept_until=9.0)))
    assert await replies.get("a") == one("a", "new", kept_until=9.0)
    assert await replies.get("b") is None


async def test_many_at_a_time_are_a_handful_of_statements(replies: Replies, store: Store) -> None:
    await replies.put(one("warm"))
    statements: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        statements.append(statement)

    listen(store, "before_cursor_execute", count)
    await asyncio.gather(*(replies.put(one(f"k{number}")) for number in range(300)))
    found = await asyncio.gather(*(replies.get(f"k{number}") for number in range(0, 600, 2)))
    assert [reply is not None for reply in found] == [True] * 150 + [False] * 150
    assert len(statements) <= 4


async def test_one_that_cannot_be_written_fails_alone(replies: Replies) -> None:
    outcomes = await asyncio.gather(
        replies.put(one("a")), replies.put(one("b", "\ud800")), replies.put(one("c")), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), StoreError, type(None)]
    assert [bool(await replies.get(key)) for key in "abc"] == [True, False, True]


async def test_rows_are_written_in_one_order_or_two_processes_could_wait_for_each_other(
    replies: Replies, store: Store
) -> None:
    written: list[Any] = []

    def note(_connection: Any, _cursor: Any, _statement: str, parameters: Any, *_rest: Any) -> None:
        written.append(parameters)

    listen(store, "before_cursor_execute", note)
    await asyncio.gather(*(replies.put(one(key)) for key in "cadb"))
    assert [row[0] for row in written[0]] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("location", ["postgresql"], indirect=True)
async def test_deleting_does_not_wait_for_a_row_that_another_process_is_writing(
    replies: Replies, witness: Store
) -> None:
    await asyncio.gather(*(replies.put(one(key, kept_until=1.0)) for key in "ab"))
    async with asyncio.timeout(30), witness._engine.connect() as other:
        await other.execute(update(lm_replies).where(lm_replies.c.key == "a").values(kept_until=9.0))
        await replies.delete_before(5.0)
        await other.commit()
    assert await replies.get("a") == one("a", kept_until=9.0)
    assert await replies.get("b") is None


async def test_answers_outlive_the_process(location: str) -> None:
    store = await Store.open(location)
    await ReplyTable(store).put(one())
    await store.close()
    store = await Store.open(location)
    assert await ReplyTable(store).get("k") == one()
    await store.close()


STEPS = lists(tuples(sampled_from("abc"), integers(0, 5), sampled_from(["put", "get", "delete"])), max_size=20)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_history_agrees_with_one_by_hand(kind: str, request: pytest.FixtureRequest) -> None:
    with asyncio.Runner() as runner:
        store = runner.run(Store.open(new_location(kind, request)))
        table = ReplyTable(store)

        async def check(steps: list[tuple[str, int, str]]) -> None:
            await table.delete_before(1000.0)
            model: dict[str, StoredReply] = {}
            for number, (key, time, step) in enumerate(steps):
                if step == "put":
                    model[key] = one(key, str(number), kept_until=float(time))
                    await table.put(model[key])
                elif step == "delete":
                    await table.delete_before(float(time))
                    model = {key: reply for key, reply in model.items() if reply.kept_until >= time}
                assert await table.get(key) == model.get(key)

        @settings(max_examples=30)
        @given(steps=STEPS)
        def agrees(steps: list[tuple[str, int, str]]) -> None:
            runner.run(check(steps))

        agrees()
        runner.run(store.close())
