"""Coroutines driven in a thread."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from repertory.store.serial_thread import SerialThread, driven
from tests.store.conftest import assert_gone


@pytest.fixture
async def thread() -> AsyncIterator[SerialThread]:
    before = set(threading.enumerate())
    thread = SerialThread("test")
    yield thread
    await thread.end()
    assert_gone(set(threading.enumerate()) - before)


async def where() -> str:
    return threading.current_thread().name


async def fail(error: BaseException) -> None:
    raise error


async def test_what_is_driven_runs_in_the_thread_and_its_result_comes_back(thread: SerialThread) -> None:
    assert await thread.drive(where()) == "test"


@pytest.mark.parametrize("error", [ValueError("of the work"), KeyboardInterrupt(), asyncio.CancelledError()])
async def test_an_error_of_any_kind_is_raised_to_whoever_waits_and_ends_nothing_else(
    thread: SerialThread, error: BaseException
) -> None:
    caught: list[BaseException] = []
    try:
        await thread.drive(fail(error))
    except BaseException as raised:  # noqa: BLE001  # all of them are meant
        caught.append(raised)
    assert [type(raised) for raised in caught] == [type(error)]
    assert await thread.drive(where()) == "test"


async def test_one_is_driven_after_the_other_in_the_order_in_which_they_came(thread: SerialThread) -> None:
    done: list[int] = []

    async def note(number: int) -> None:
        done.append(number)

    await asyncio.gather(*(thread.drive(note(number)) for number in range(100)))
    assert done == [*range(100)]


async def test_the_loop_goes_on_while_the_thread_waits(thread: SerialThread) -> None:
    told = threading.Event()

    async def wait() -> bool:
        return told.wait(timeout=30)

    waiting = asyncio.create_task(thread.drive(wait()))
    await asyncio.sleep(0)
    told.set()
    assert await waiting


async def test_what_was_handed_over_is_done_though_its_caller_is_cancelled(thread: SerialThread) -> None:
    begun, told, done = asyncio.Event(), threading.Event(), []
    loop = asyncio.get_running_loop()

    async def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        done.append(told.wait(timeout=30))

    waiting = asyncio.create_task(thread.drive(work()))
    await begun.wait()
    waiting.cancel()
    await asyncio.wait({waiting})
    assert waiting.cancelled()
    told.set()
    await thread.drive(where())
    assert done == [True]


async def test_a_thread_ends_on_its_own_where_nobody_waits_for_its_end() -> None:
    before = set(threading.enumerate())
    thread, told = SerialThread("test"), threading.Event()

    async def wait() -> bool:
        return told.wait(timeout=30)

    working = asyncio.create_task(thread.drive(wait()))
    ending = asyncio.create_task(thread.end())
    await asyncio.sleep(0)
    ending.cancel()
    await asyncio.wait({ending})
    told.set()
    assert await working
    assert_gone(set(threading.enumerate()) - before)


def test_what_waits_is_told_so_where_it_waits_and_may_clean_up() -> None:
    undone: list[str] = []

    async def innermost() -> None:
        await asyncio.sleep(0)

    async def work() -> None:
        try:
            await innermost()
        except RuntimeError as error:
            undone.append(str(error))
            raise

    with pytest.raises(RuntimeError, match=r"sleep.* waits for what only an event loop could give it"):
        driven(work())
    assert len(undone) == 1


def test_what_goes_on_waiting_is_closed() -> None:
    async def stubborn() -> None:
        while True:
            try:
                await asyncio.sleep(0)
            except RuntimeError:
                continue

    with pytest.raises(RuntimeError, match="goes on after it was told not to wait"):
        driven(stubborn())


def test_what_waits_but_copes_with_the_error_has_its_result() -> None:
    async def coping() -> str:
        try:
            await asyncio.sleep(0)
        except RuntimeError:
            return "coped"
        return "never"

    assert driven(coping()) == "coped"
