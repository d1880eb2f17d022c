"""The cache over a store: one that outlives the process, and one that fails."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text, update

from repertory.errors import DeadlineExceeded, StoreError
from repertory.events import CacheStoreFailed, Event, Hooks
from repertory.providers.cache import Ask, CacheSettings, ReplyCache
from repertory.providers.cache_store import PATIENCE, PAUSE, PRUNING
from repertory.providers.messages import LMRequest, LMResponse, Message, Terms, Usage
from repertory.store import Replies, ReplyTable, Store, StoredReply
from repertory.store.tables import lm_replies
from repertory.testing import FakeClock
from tests.virtual_time import LoopClock, run_in_virtual_time

HELLO = LMRequest((Message("user", "hello"),))
SETTINGS = CacheSettings(max_bytes=4000, ttl=10, stale_for=20)


def reply(words: str = "hi") -> LMResponse:
    return LMResponse(words, "stop", Usage(3, 2), "m", "1", cost=Decimal("0.5"))


def kept(words: str = "hi") -> LMResponse:
    return replace(reply(words), source="cache", cost=Decimal(0))


def saying(words: str) -> Ask:
    async def ask(deadline: float | None) -> LMResponse:
        return reply(words)

    return ask


async def nobody(deadline: float | None) -> LMResponse:
    raise AssertionError("the model was asked")


class Shelf:
    """`Replies` in memory that fail as long as `broken`, and answer reads once `slow` seconds have passed."""

    def __init__(self) -> None:
        self.rows: dict[str, StoredReply] = {}
        self.broken = False
        self.slow = 0.0
        self.holds_writes = False
        self.held: list[asyncio.Future[None]] = []
        self.gets = 0
        self.puts = 0
        self.deleted_before: list[float] = []

    async def get(self, key: str) -> StoredReply | None:
        self.gets += 1
        if self.slow:
            await asyncio.sleep(self.slow)
        if self.broken:
            raise StoreError("the disk is full")
        return self.rows.get(key)

    def put(self, reply: StoredReply) -> asyncio.Future[None]:
        self.puts += 1
        if not self.broken:
            self.rows[reply.key] = reply
        return self._done()

    def delete_before(self, time: float) -> asyncio.Future[None]:
        self.deleted_before.append(time)
        return self._done()

    def _done(self) -> asyncio.Future[None]:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.holds_writes:
            self.held.append(done)
        elif self.broken:
            done.set_exception(StoreError("the disk is full"))
        else:
            done.set_result(None)
        return done


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
async def cache(clock: FakeClock, shelf: Shelf, events: list[Event]) -> AsyncIterator[ReplyCache]:
    cache = over(shelf, clock, events)
    yield cache
    await cache.close()


def over(replies: Replies, clock: FakeClock | LoopClock, events: list[Event] | None = None) -> ReplyCache:
    hooks = Hooks([events.append] if events is not None else [])
    return ReplyCache(SETTINGS, clock, replies=replies, endpoint="qa", hooks=hooks)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(tmp_path / "repertory.db")
    yield store
    await store.close()


async def test_an_answer_outlives_the_process(store: Store, clock: FakeClock) -> None:
    first = over(ReplyTable(store), clock)
    assert await first.answer("k", HELLO, saying("hi")) == reply()
    await first.close()
    assert first.snapshot().stored == 1
    second = over(ReplyTable(store), clock)
    assert await second.answer("k", HELLO, nobody) == kept()
    assert (second.snapshot().hits, second.snapshot().misses, second.snapshot().entries) == (1, 0, 1)
    await second.close()


async def test_equal_calls_read_the_store_once(clock: FakeClock, shelf: Shelf, cache: ReplyCache) -> None:
    assert len(await asyncio.gather(*(cache.answer("k", HELLO, saying("hi")) for _ in range(50)))) == 50
    other = over(shelf, clock)
    assert await asyncio.gather(*(other.answer("k", HELLO, nobody) for _ in range(50))) == [kept()] * 50
    assert await other.answer("k", HELLO, nobody) == kept()
    assert shelf.gets == 2
    await other.close()


async def test_an_answer_in_the_store_grows_old_as_in_memory(
    clock: FakeClock, shelf: Shelf, cache: ReplyCache
) -> None:
    await cache.answer("k", HELLO, saying("old"))
    clock.advance(6)
    second = over(shelf, clock)
    assert await second.answer("k", HELLO, nobody) == kept("old")
    clock.advance(4)
    third = over(shelf, clock)
    assert (await second.stale("k"), await third.stale("k")) == (replace(kept("old"), source="stale"),) * 2
    assert await second.answer("k", HELLO, saying("new")) == reply("new")
    assert await third.answer("k", HELLO, nobody) == kept("new")
    clock.advance(29.5)
    assert await over(shelf, clock).stale("k") == replace(kept("new"), source="stale")
    clock.advance(0.5)
    assert await over(shelf, clock).stale("k") is None
    assert await third.stale("k") is None


async def test_an_answer_from_a_machine_whose_clock_is_ahead_is_fresh(
    clock: FakeClock, shelf: Shelf, cache: ReplyCache
) -> None:
    ahead = FakeClock(time=clock.time() + 60)
    await over(shelf, ahead).answer("k", HELLO, saying("hi"))
    assert await cache.answer("k", HELLO, nobody) == kept()


async def test_a_refresh_does_not_read_the_store_but_writes_it(
    clock: FakeClock, shelf: Shelf, cache: ReplyCache
) -> None:
    await cache.answer("k", HELLO, saying("old"))
    await cache.answer("k", replace(HELLO, terms=Terms(cache="refresh")), saying("new"))
    assert shelf.gets == 1
    assert await over(shelf, clock).answer("k", HELLO, nobody) == kept("new")


async def test_a_bypass_touches_no_store(shelf: Shelf, cache: ReplyCache) -> None:
    await cache.answer("k", replace(HELLO, terms=Terms(cache="bypass")), saying("hi"))
    assert (shelf.gets, shelf.puts) == (0, 0)


async def test_what_a_slow_store_brings_does_not_replace_a_refreshed_answer(
    clock: FakeClock, shelf: Shelf, cache: ReplyCache
) -> None:
    await cache.answer("k", HELLO, saying("old"))
    old = shelf.rows["k"]
    fresh = over(shelf, clock)
    reading = asyncio.Event()
    go_on = asyncio.Event()

    async def get(key: str) -> StoredReply:
        reading.set()
        await go_on.wait()
        return old

    shelf.get = get  # type: ignore[method-assign]  # a read that lasts until `go_on`
    slow = asyncio.ensure_future(fresh.answer("k", HELLO, nobody))
    await reading.wait()
    await fresh.answer("k", replace(HELLO, terms=Terms(cache="refresh")), saying("new"))
    go_on.set()
    assert await slow == kept("old")
    assert await fresh.answer("k", HELLO, nobody) == kept("new")
    await fresh.close()


async def test_an_answer_too_large_for_memory_is_in_the_store(shelf: Shelf, cache: ReplyCache) -> None:
    await cache.answer("k", HELLO, saying("x" * 1001))
    assert cache.snapshot().entries == 0
    assert await cache.answer("k", HELLO, nobody) == kept("x" * 1001)


@pytest.mark.parametrize("data", ["", "{}", '{"v":99}', "not JSON"])
async def test_a_damaged_answer_is_asked_for_anew_and_replaced(store: Store, clock: FakeClock, data: str) -> None:
    first = over(ReplyTable(store), clock)
    await first.answer("k", HELLO, saying("old"))
    await first.close()
    await store.write(update(lm_replies).values(data=data), {})
    second = over(ReplyTable(store), clock)
    assert await second.stale("k") is None
    assert await second.answer("k", HELLO, saying("new")) == reply("new")
    await second.close()
    assert await over(ReplyTable(store), clock).answer("k", HELLO, nobody) == kept("new")


async def test_a_store_that_fails_fails_no_call_and_is_told_of_once(
    clock: FakeClock, shelf: Shelf, cache: ReplyCache, events: list[Event]
) -> None:
    shelf.broken = True
    for number in range(5):
        assert await cache.answer(f"k{number}", HELLO, saying("hi")) == reply()
        assert await cache.answer(f"k{number}", HELLO, nobody) == kept()
    assert await cache.stale("unheard of") is None
    (event,) = events
    assert isinstance(event, CacheStoreFailed)
    assert (event.endpoint, str(event.cause)) == ("qa", "the disk is full")
    assert cache.snapshot().store_failures == 1
    assert shelf.gets == 1  # nor is it asked again and again


async def test_a_store_that_works_again_is_used_again(
    clock: FakeClock, shelf: Shelf, cache: ReplyCache, events: list[Event]
) -> None:
    shelf.broken = True
    await cache.answer("a", HELLO, saying("hi"))
    clock.advance(PAUSE)
    await cache.answer("b", HELLO, saying("hi"))
    assert (shelf.gets, cache.snapshot().store_failures, len(events)) == (2, 2, 1)
    shelf.broken = False
    await cache.answer("c", HELLO, saying("hi"))
    assert (shelf.gets, shelf.puts) == (2, 0)
    clock.advance(PAUSE)
    await cache.answer("d", HELLO, saying("hi"))
    await cache.answer("e", HELLO, saying("hi"))
    await asyncio.sleep(0)
    assert (shelf.gets, shelf.puts, cache.snapshot().stored) == (4, 2, 2)
    shelf.broken = True
    await cache.answer("f", HELLO, saying("hi"))
    assert len(events) == 2


async def test_a_write_that_fails_is_told_of(shelf: Shelf, cache: ReplyCache, events: list[Event]) -> None:
    shelf.holds_writes = True
    await cache.answer("k", HELLO, saying("hi"))
    shelf.held[0].set_exception(StoreError("the disk is full"))
    await asyncio.sleep(0)
    assert (cache.snapshot().store_failures, cache.snapshot().stored, len(events)) == (1, 0, 1)
    for write in shelf.held[1:]:
        write.set_result(None)


async def test_a_closed_store_fails_no_call(store: Store, clock: FakeClock, events: list[Event]) -> None:
    cache = over(ReplyTable(store), clock, events)
    await store.close()
    assert await cache.answer("k", HELLO, saying("hi")) == reply()
    assert await cache.answer("k", replace(HELLO, terms=Terms(cache="refresh")), saying("hi")) == reply()
    assert len(events) == 1
    await cache.close()


async def test_a_store_without_its_table_fails_no_call(
    store: Store, clock: FakeClock, events: list[Event]
) -> None:
    await store.write(text("DROP TABLE lm_replies"), {})
    cache = over(ReplyTable(store), clock, events)
    assert await cache.answer("k", HELLO, saying("hi")) == reply()
    assert len(events) == 1
    await cache.close()


def test_a_store_that_does_not_answer_is_waited_for_a_moment_and_no_longer_than_the_caller_has_time() -> None:
    async def main() -> None:
        loop, shelf = asyncio.get_running_loop(), Shelf()
        shelf.slow = 60.0
        events: list[Event] = []
        cache = over(shelf, LoopClock(), events)
        patient = asyncio.ensure_future(cache.answer("k", HELLO, saying("hi")))
        with pytest.raises(DeadlineExceeded):
            await cache.answer("k", replace(HELLO, deadline=PATIENCE / 2), saying("hi"))
        assert round(loop.time(), 3) == PATIENCE / 2
        assert await patient == reply()
        assert round(loop.time(), 3) == PATIENCE
        (event,) = events
        assert isinstance(event, CacheStoreFailed)
        assert "did not answer within 1 s" in str(event.cause)
        await cache.close()

    run_in_virtual_time(main())


def test_once_the_store_was_read_the_model_notices_the_deadline_itself() -> None:
    async def main() -> None:
        shelf = Shelf()
        shelf.slow = 0.5
        cache = over(shelf, LoopClock())

        async def ask(deadline: float | None) -> LMResponse:
            assert deadline == 4.0
            await asyncio.sleep(deadline - asyncio.get_running_loop().time())
            await asyncio.sleep(0)
            raise DeadlineExceeded("the model: too late")

        with pytest.raises(DeadlineExceeded, match="the model: too late"):
            await cache.answer("k", replace(HELLO, deadline=4.0), ask)
        await cache.close()

    run_in_virtual_time(main())


def test_whoever_leaves_while_the_store_is_read_leaves_nothing_behind() -> None:
    async def main() -> None:
        shelf = Shelf()
        shelf.slow = 0.5
        cache = over(shelf, LoopClock())
        with pytest.raises(DeadlineExceeded):
            await cache.answer("k", replace(HELLO, deadline=0.25), nobody)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert cache.snapshot().store_failures == 0
        await cache.close()

    run_in_virtual_time(main())


async def test_what_nobody_wants_any_more_is_pruned_now_and_then(store: Store, clock: FakeClock) -> None:
    cache = over(ReplyTable(store), clock)
    await cache.answer("a", HELLO, saying("hi"))
    clock.advance(25)
    await cache.answer("b", HELLO, saying("hi"))
    clock.advance(PRUNING - 26)
    await cache.answer("c", HELLO, saying("hi"))
    assert await ReplyTable(store).get("a") is not None
    clock.advance(1)
    await cache.answer("d", HELLO, saying("hi"))
    await cache.close()
    assert [key for key in "abcd" if await ReplyTable(store).get(key)] == ["c", "d"]


async def test_no_more_waits_to_be_written_than_memory_may_hold(shelf: Shelf, cache: ReplyCache) -> None:
    shelf.holds_writes = True
    for number in range(10):
        await cache.answer(f"k{number}", HELLO, saying("x" * 900))
    assert shelf.puts == 3
    for write in shelf.held:
        write.set_result(None)
    await asyncio.sleep(0)
    shelf.holds_writes = False
    await cache.answer("another", HELLO, saying("x" * 900))
    assert shelf.puts == 4


async def test_a_close_waits_for_what_is_being_written(shelf: Shelf, cache: ReplyCache) -> None:
    shelf.holds_writes = True
    await cache.answer("k", HELLO, saying("hi"))
    closing = asyncio.ensure_future(cache.close())
    await asyncio.sleep(0)
    assert not closing.done()
    for write in shelf.held:
        write.set_result(None)
    await closing
    assert cache.snapshot().stored == 1


def test_a_close_does_not_wait_for_ever() -> None:
    async def main() -> None:
        shelf = Shelf()
        shelf.holds_writes = True
        cache = over(shelf, LoopClock())
        await cache.answer("k", HELLO, saying("hi"))
        await cache.close()
        await asyncio.sleep(0)
        assert all(write.cancelled() for write in shelf.held)
        assert cache.snapshot().store_failures == 2  # the answer and the pruning

    run_in_virtual_time(main())
