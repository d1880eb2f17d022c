"""Work side by side: gather and map, driven by futures that the tests resolve."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import repertory as rp
from repertory.errors import ConfigError, ProgramError
from repertory.modules.concurrent import Window
from repertory.testing import ScriptedLM
from tests.virtual_time import run_in_virtual_time


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


class Asked:
    """Something that is asked; the tests answer."""

    def __init__(self) -> None:
        self.under_way: dict[Any, asyncio.Future[Any]] = {}
        self.most = 0
        self.begun: list[Any] = []
        self.cancelled: list[Any] = []

    async def __call__(self, *, n: Any) -> Any:
        self.begun.append(n)
        self.under_way[n] = asyncio.get_running_loop().create_future()
        self.most = max(self.most, len(self.under_way))
        try:
            return await self.under_way[n]
        except asyncio.CancelledError:
            self.cancelled.append(n)
            raise
        finally:
            del self.under_way[n]

    def answer(self, n: Any) -> None:
        self.under_way[n].set_result(rp.Prediction(m=n))

    def fail(self, n: Any) -> None:
        self.under_way[n].set_exception(ValueError(str(n)))


# --- gather ---


async def test_outcomes_are_in_the_order_given() -> None:
    asked = Asked()
    both = asyncio.ensure_future(rp.gather(asked(n=1), asked(n=2)))
    await settle()
    asked.answer(2)
    await settle()
    assert not both.done()
    asked.answer(1)
    assert [each.m for each in await both] == [1, 2]


async def test_nothing_is_waited_for_where_nothing_is_given() -> None:
    assert await rp.gather() == []


async def test_pending_predictions_references_and_coroutines_outside_of_a_run() -> None:
    ask = rp.Predict("a -> b", lm=ScriptedLM(lambda request: '{"b": "x"}'))
    pending = ask(a="y")
    whole, field, again, other = await rp.gather(pending, pending.b, pending, ask(a="z").b)
    assert (whole.b, field, again, other) == ("x", "x", whole, "x")


async def test_the_first_failure_cancels_the_rest_and_waits_for_them() -> None:
    asked, ended = Asked(), []

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await settle()
            ended.append(True)

    all_of_them = asyncio.ensure_future(rp.gather(asked(n=1), asked(n=2), asked(n=3), slow_to_end()))
    await settle()
    asked.fail(2)
    with pytest.raises(ValueError, match="2"):
        await all_of_them
    assert (asked.cancelled, ended) == ([1, 3], [True])


async def test_errors_can_be_returned_in_their_places() -> None:
    asked = Asked()
    both = asyncio.ensure_future(rp.gather(asked(n=1), asked(n=2), asked(n=3), failures="return"))
    await settle()
    asked.fail(1)
    asked.under_way[3].cancel()
    await settle()
    assert not both.done()
    asked.answer(2)
    failed, answered, cancelled = await both
    assert isinstance(failed, ValueError)
    assert isinstance(answered, rp.Prediction)
    assert isinstance(cancelled, asyncio.CancelledError)


async def test_cancelling_reaches_all_and_waits_for_them_however_often_it_is_done() -> None:
    asked, release = Asked(), asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await release.wait()

    all_of_them = asyncio.ensure_future(rp.gather(asked(n=1), slow_to_end()))
    await settle()
    all_of_them.cancel()
    await settle()
    all_of_them.cancel()
    await settle()
    assert asked.cancelled == [1]
    assert not all_of_them.done()
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await all_of_them


async def test_a_cancelled_member_ends_all() -> None:
    asked = Asked()
    both = asyncio.ensure_future(rp.gather(asked(n=1), asked(n=2)))
    await settle()
    asked.under_way[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await both
    assert asked.cancelled == [1, 2]


async def test_what_cannot_be_awaited_is_refused_before_anything_begins() -> None:
    asked = Asked()
    work = asked(n=1)
    with pytest.raises(ProgramError, match="argument 1 is a int"):
        await rp.gather(work, 3)  # type: ignore[call-overload]  # the mistake in question
    work.close()
    with pytest.raises(ConfigError, match="failures = 'ignore'"):
        await rp.gather(failures="ignore")  # type: ignore[call-overload]  # likewise
    assert asked.begun == []


# --- map ---


def rows(count: int, read: list[int] | None = None) -> Iterator[dict[str, Any]]:
    for n in range(count):
        if read is not None:
            read.append(n)
        yield {"n": n}


async def later(count: int, read: list[int]) -> AsyncIterator[dict[str, Any]]:
    for row in rows(count, read):
        await asyncio.sleep(0)
        yield row


class Taken:
    """Takes pairs, one when it is told to."""

    def __init__(self, pairs: Any) -> None:
        self.pairs = pairs
        self.got: list[Any] = []
        self.waiting: asyncio.Task[Any] | None = None
        self.ended = False

    async def take(self) -> None:
        if self.waiting is None and not self.ended:
            self.waiting = asyncio.ensure_future(anext(self.pairs, None))
        await self.look()

    async def look(self) -> None:
        await settle()
        if self.waiting is not None and self.waiting.done():
            pair = self.waiting.result()
            self.waiting = None
            if pair is None:
                self.ended = True
            else:
                self.got.append(pair)


@settings(max_examples=60)
@given(
    count=st.integers(0, 14),
    concurrency=st.integers(1, 4),
    ordered=st.booleans(),
    asynchronous=st.booleans(),
    failing=st.frozensets(st.integers(0, 13)),
    data=st.data(),
)
def test_each_row_once_few_at_a_time_and_in_order(
    count: int, concurrency: int, ordered: bool, asynchronous: bool, failing: frozenset[int], data: st.DataObject
) -> None:
    async def main() -> None:
        asked, read, answered = Asked(), list[int](), list[int]()
        source: Any = later(count, read) if asynchronous else rows(count, read)
        taken = Taken(rp.map(asked, source, concurrency=concurrency, ordered=ordered, failures="return"))
        while not taken.ended:
            choices = [*sorted(asked.under_way), "take"]
            if taken.waiting is not None and asked.under_way:
                choices.remove("take")
            chosen = data.draw(st.sampled_from(choices))
            if chosen == "take":
                await taken.take()
            else:
                (asked.fail if chosen in failing else asked.answer)(chosen)
                answered.append(chosen)
                await taken.look()
            # One more row may have been read than is begun: that of an async iterable.
            assert len(read) <= len(taken.got) + 2 * concurrency + asynchronous
            assert asked.most <= concurrency
        got = [row["n"] for row, _ in taken.got]
        assert got == (list(range(count)) if ordered else answered)
        assert sorted(asked.begun) == list(range(count))
        for row, outcome in taken.got:
            assert str(outcome) == str(row["n"]) if row["n"] in failing else outcome.m == row["n"]

    run_in_virtual_time(main())


async def test_nothing_is_read_before_something_is_taken() -> None:
    read: list[int] = []
    pairs = rp.map(Asked(), rows(5, read), concurrency=2)
    await settle()
    assert read == []
    await pairs.aclose()


async def test_a_slow_first_row_holds_up_only_as_many_as_are_kept_in_order() -> None:
    asked = Asked()
    taken = Taken(rp.map(asked, rows(20), concurrency=2))
    await taken.take()
    for n in (1, 2, 3):
        asked.answer(n)
        await taken.look()
    assert asked.begun == [0, 1, 2, 3]
    asked.answer(0)
    await taken.look()
    assert [row["n"] for row, _ in taken.got] == [0]
    await taken.pairs.aclose()


async def test_an_error_is_raised_in_its_turn_and_nothing_is_begun_after_it() -> None:
    asked = Asked()
    taken = Taken(rp.map(asked, rows(20), concurrency=3))
    await taken.take()
    asked.fail(1)
    asked.answer(0)
    await taken.look()
    with pytest.raises(ValueError, match="1"):
        await anext(taken.pairs)
    assert [row["n"] for row, _ in taken.got] == [0]
    assert (asked.begun, asked.cancelled) == ([0, 1, 2], [2])


async def test_leaving_early_cancels_what_is_under_way_and_waits_for_it() -> None:
    asked = Asked()
    async with aclosing(rp.map(asked, rows(20), concurrency=3, ordered=False)) as pairs:
        taken = Taken(pairs)
        await taken.take()
        asked.answer(1)
        await taken.look()
    assert asked.cancelled == [0, 2, 3]
    assert asked.under_way == {}


async def test_cancelling_who_takes_cancels_what_is_under_way() -> None:
    asked = Asked()

    async def take_all() -> None:
        async with aclosing(rp.map(asked, rows(20), concurrency=3)) as pairs:
            async for _ in pairs:
                raise AssertionError

    task = asyncio.ensure_future(take_all())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asked.cancelled == [0, 1, 2]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_what_reading_raises_is_raised(asynchronous: bool) -> None:
    asked = Asked()

    def broken() -> Iterator[dict[str, Any]]:
        yield {"n": 0}
        raise OSError("disk")

    async def broken_later() -> AsyncIterator[dict[str, Any]]:
        for row in broken():
            yield row

    with pytest.raises(OSError, match="disk"):
        await anext(rp.map(asked, broken_later() if asynchronous else broken()))
    assert asked.under_way == {}


async def test_a_module_and_what_it_is_called_with_wrongly() -> None:
    ask = rp.Predict("a -> b", lm=ScriptedLM(lambda request: '{"b": "x"}'))
    pairs = [pair async for pair in rp.map(ask, [{"a": "1"}, {"c": "2"}], failures="return")]
    assert isinstance(pairs[0][1], rp.Prediction)
    assert isinstance(pairs[1][1], Exception)
    with pytest.raises(TypeError):
        await anext(rp.map(Asked(), [{"m": 1}]))


@pytest.mark.parametrize("options", [{"concurrency": 0}, {"failures": "skip"}])
def test_arguments_that_cannot_be_used_are_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"map: {next(iter(options))} = "):
        rp.map(Asked(), [], **options)


def test_a_window_begins_nothing_after_a_failure() -> None:
    window = Window(2, ordered=True)
    task: Any = None
    place = window.begin({}, task)
    assert window.takes_more
    window.end(place, failed=True)
    assert not window.takes_more
    assert window.give() is place
    assert window.is_empty
