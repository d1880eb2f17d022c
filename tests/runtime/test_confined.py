"""Work that need not obey: who waits for it is let go in time, and told of what is left."""

import asyncio
from collections.abc import Awaitable
from contextvars import ContextVar
from typing import Any, TypeAlias, TypeVar

import pytest

from repertory.actors.runner import GRACE
from repertory.runtime.confined import Overdue, Work, confined
from tests.virtual_time import run_in_virtual_time

ResultT = TypeVar("ResultT")
Left: TypeAlias = list[Work[str]]

FOREVER = 1e9  # seconds
LITTLE = 0.01  # seconds the virtual clock may be ahead by
VARIABLE: ContextVar[str] = ContextVar("VARIABLE")


async def answer() -> str:
    return "answer"


async def fail() -> str:
    raise ZeroDivisionError("own")


async def cancel_itself() -> str:
    raise asyncio.CancelledError


async def obey() -> str:
    await asyncio.sleep(FOREVER)
    return "never"


async def withstand(release: asyncio.Event, seen: list[float] | None = None) -> str:
    """Go on until ``release`` is set, whatever is cancelled; ``seen`` gets the times of the attempts."""
    while not release.is_set():
        try:
            await release.wait()
        except asyncio.CancelledError:
            if seen is not None:
                seen.append(asyncio.get_running_loop().time())
    return "late"


def now() -> float:
    return asyncio.get_running_loop().time()


async def asked(work: Awaitable[ResultT], timeout: float, left: list[Work[ResultT]]) -> ResultT:
    return await confined(work, timeout, left.append)


async def let_go(left: Left, release: asyncio.Event) -> None:
    release.set()
    await asyncio.wait(left)


@pytest.mark.parametrize(("work", "error"), [(fail, ZeroDivisionError), (cancel_itself, asyncio.CancelledError)])
def test_its_errors_are_the_callers(work: Any, error: type[BaseException]) -> None:
    left: Left = []
    with pytest.raises(error):
        run_in_virtual_time(asked(work(), FOREVER, left))
    assert not left


def test_its_answer_is_the_callers_and_so_is_its_context() -> None:
    async def told() -> str:
        return VARIABLE.get()

    async def main() -> str:
        VARIABLE.set("of the caller")
        return await asked(told(), FOREVER, [])

    assert run_in_virtual_time(main()) == "of the caller"


def test_what_obeys_is_ended_when_its_time_is_up() -> None:
    async def main() -> None:
        left: Left = []
        with pytest.raises(Overdue):
            await asked(obey(), 5, left)
        assert now() < 5 + LITTLE
        assert not left
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_in_virtual_time(main())


def test_what_obeys_is_ended_with_its_caller_at_once() -> None:
    async def main() -> None:
        left: Left = []
        asking = asyncio.create_task(asked(obey(), FOREVER, left))
        await asyncio.sleep(5)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert now() < 5 + LITTLE
        assert not left
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_in_virtual_time(main())


def test_what_withstands_the_end_of_its_time_is_left_behind() -> None:
    async def main() -> None:
        left: Left = []
        release, cancelled = asyncio.Event(), list[float]()
        with pytest.raises(Overdue):
            await asked(withstand(release, cancelled), 5, left)
        assert now() == pytest.approx(5 + GRACE, abs=LITTLE)
        assert cancelled == [pytest.approx(5, abs=LITTLE)]
        assert [task.done() for task in left] == [False]
        await let_go(left, release)

    run_in_virtual_time(main())


def test_what_withstands_the_end_of_its_caller_is_left_behind_however_often_that_is_cancelled() -> None:
    async def main() -> None:
        left: Left = []
        release, cancelled = asyncio.Event(), list[float]()
        asking = asyncio.create_task(asked(withstand(release, cancelled), FOREVER, left))
        for _ in range(3):
            await asyncio.sleep(GRACE / 4)
            asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert now() == pytest.approx(GRACE / 4 + GRACE, abs=LITTLE)
        assert cancelled == [pytest.approx(GRACE / 4, abs=LITTLE)]
        assert [task.done() for task in left] == [False]
        await let_go(left, release)

    run_in_virtual_time(main())


def test_a_caller_cancelled_after_the_time_was_up_is_cancelled() -> None:
    async def main() -> None:
        left: Left = []
        release = asyncio.Event()
        asking = asyncio.create_task(asked(withstand(release), 5, left))
        await asyncio.sleep(5 + GRACE / 2)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert len(left) == 1
        await let_go(left, release)

    run_in_virtual_time(main())


async def tidy_up(end: BaseException | str) -> str:
    try:
        await asyncio.sleep(FOREVER)
    except asyncio.CancelledError:
        await asyncio.sleep(GRACE / 2)
        if isinstance(end, BaseException):
            raise end from None
        return end
    return "never"


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (ZeroDivisionError("own"), ZeroDivisionError),
        (TimeoutError("its own"), Overdue),
        (asyncio.CancelledError(), Overdue),
    ],
    ids=lambda value: type(value).__name__,
)
def test_its_last_error_counts_if_it_says_more_than_that_the_time_was_up(
    end: BaseException, error: type[Exception]
) -> None:
    left: Left = []
    with pytest.raises(error):
        run_in_virtual_time(asked(tidy_up(end), 5, left))
    assert not left


def test_its_last_answer_counts() -> None:
    assert run_in_virtual_time(asked(tidy_up("what there was"), 5, [])) == "what there was"


def test_how_it_ends_once_it_was_left_behind_is_no_news() -> None:
    async def fail_late(release: asyncio.Event) -> str:
        await withstand(release)
        raise ZeroDivisionError("late")

    async def main() -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        left: Left = []
        release = asyncio.Event()
        with pytest.raises(Overdue):
            await asked(fail_late(release), 5, left)
        await let_go(left, release)
        left.clear()
        await asyncio.sleep(0)
        assert not told

    run_in_virtual_time(main())
