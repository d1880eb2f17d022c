"""Work side by side: a fixed number of things at once (`gather`), or a stream of rows of any length (`map`)."""

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal, TypeAlias, TypeVar, overload

from repertory.errors import ConfigError, ProgramError
from repertory.modules.pending import Pending
from repertory.modules.prediction import Prediction

T = TypeVar("T")
Row: TypeAlias = Mapping[str, Any]
Failures: TypeAlias = Literal["raise", "return"]


@overload
async def gather(*work: Awaitable[T], failures: Literal["raise"] = "raise") -> list[T]: ...


@overload
async def gather(*work: Awaitable[T], failures: Literal["return"]) -> list[T | BaseException]: ...


async def gather(*work: Awaitable[T], failures: Failures = "raise") -> list[Any]:
    """The outcomes of ``work``, in its order; all of it runs side by side, and has ended when this returns.

    The first failure is raised once the others have been cancelled and have ended. Cancelling this cancels all.

    Args:
        work: Pending predictions, references, coroutines.
        failures: ``"return"`` puts errors in the places of outcomes, and cancels nothing.
    """
    _require_failures("gather", failures)
    for number, each in enumerate(work):
        if not inspect.isawaitable(each):
            raise ProgramError(
                f"gather: argument {number} is a {type(each).__name__}", hint="Give it what calls of modules give."
            )
    begun = [asyncio.ensure_future(each.begun() if isinstance(each, Pending) else each) for each in work]
    once = list(dict.fromkeys(begun))  # a prediction that is given twice is waited for once
    try:
        first = await _first_failure(once, patient=failures == "return")
    finally:
        await _ended(once)
    if first is not None:
        return [first.result()]  # raises
    return [_outcome(each) for each in begun] if failures == "return" else [each.result() for each in begun]


async def _first_failure(work: Sequence[asyncio.Future[T]], *, patient: bool) -> asyncio.Future[T] | None:
    """Wait for all of ``work`` to end, or, if not ``patient``, for the first that fails; return that one."""
    left = len(work)
    if not left:
        return None
    over: asyncio.Future[asyncio.Future[T] | None] = asyncio.get_running_loop().create_future()

    def ended(each: asyncio.Future[T]) -> None:
        nonlocal left
        left -= 1
        if over.done():
            return
        if not patient and _failed(each):
            over.set_result(each)
        elif not left:
            over.set_result(None)

    for each in work:
        each.add_done_callback(ended)
    try:
        return await over
    finally:
        for each in work:
            each.remove_done_callback(ended)


async def _ended(work: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel what of ``work`` still runs, and wait until it has ended, however often one is cancelled oneself."""
    left = [each for each in work if not each.done()]
    cancelled: asyncio.CancelledError | None = None
    for each in left:
        each.cancel()
    while left:
        try:
            await asyncio.wait(left)
        except asyncio.CancelledError as error:
            cancelled = error
        left = [each for each in left if not each.done()]
    for each in work:
        _failed(each)  # an error that comes after the first is not told, and nobody is to miss it
    if cancelled is not None:
        raise cancelled


def _failed(ended: asyncio.Future[Any]) -> bool:
    return ended.cancelled() or ended.exception() is not None


def _outcome(ended: asyncio.Future[T]) -> T | BaseException:
    if ended.cancelled():
        return asyncio.CancelledError()
    error = ended.exception()
    return error if error is not None else ended.result()


@overload
def map(
    module: Callable[..., Awaitable[Prediction]],
    rows: Iterable[Row] | AsyncIterable[Row],
    *,
    concurrency: int = 16,
    ordered: bool = True,
    failures: Literal["raise"] = "raise",
) -> AsyncGenerator[tuple[Row, Prediction], None]: ...


@overload
def map(
    module: Callable[..., Awaitable[Prediction]],
    rows: Iterable[Row] | AsyncIterable[Row],
    *,
    concurrency: int = 16,
    ordered: bool = True,
    failures: Literal["return"],
) -> AsyncGenerator[tuple[Row, Prediction | BaseException], None]: ...


def map(
    module: Callable[..., Awaitable[Prediction]],
    rows: Iterable[Row] | AsyncIterable[Row],
    *,
    concurrency: int = 16,
    ordered: bool = True,
    failures: Failures = "raise",
) -> AsyncGenerator[tuple[Row, Prediction], None] | AsyncGenerator[tuple[Row, Prediction | BaseException], None]:
    """Each row with what ``module`` answers to it, as the answers come.

    Rows are read only as fast as pairs are taken: at most twice ``concurrency`` of them are read and not yet given
    back. Whoever may leave the loop early closes it, which cancels what is under way and waits for it::

        async with aclosing(map(classify, rows)) as pairs:
            async for row, prediction in pairs:
                ...

    Args:
        module: Called with a row's values by name: a module, a deployment, an async function.
        rows: Read once, and not closed.
        concurrency: Most rows under way at a time.
        ordered: Give pairs in the order of the rows; else in the order in which answers come.
        failures: ``"raise"`` raises a row's error in its turn, and begins no more once there is one; ``"return"``
            gives it in place of the prediction.

    Raises:
        ConfigError: An argument cannot be used.
    """
    _require_failures("map", failures)
    if concurrency < 1:
        raise ConfigError(f"map: concurrency = {concurrency!r}", hint="At least one row must be under way.")
    return _mapped(module, _Source(rows), Window(concurrency, ordered), failures)


async def _mapped(
    module: Callable[..., Awaitable[Prediction]], source: "_Source", window: "Window", failures: Failures
) -> AsyncGenerator[tuple[Row, Any], None]:
    news = asyncio.Event()
    begun: dict[asyncio.Task[Prediction], None] = {}  # in order

    def begin(row: Row) -> None:
        task = asyncio.get_running_loop().create_task(_answer(module, row))
        place = window.begin(row, task)
        begun[task] = None

        def ended(_: asyncio.Task[Prediction]) -> None:
            del begun[task]
            failed = _failed(task)
            window.end(place, failed=failed and failures == "raise")
            news.set()

        task.add_done_callback(ended)

    try:
        while True:
            while window.takes_more and (row := source.next(news)) is not None:
                begin(row)
            if (place := window.give()) is not None:
                outcome = _outcome(place.task)
                if failures == "raise" and isinstance(outcome, BaseException):
                    raise outcome
                yield place.row, outcome
            elif window.is_empty and (source.is_exhausted or not window.takes_more):
                return
            else:
                await news.wait()
                news.clear()
    finally:
        await _ended([*begun, *source.reading])


async def _answer(module: Callable[..., Awaitable[Prediction]], row: Row) -> Prediction:
    return await module(**row)


@dataclass(slots=True, eq=False)
class _Place:
    row: Row
    task: asyncio.Task[Prediction]
    has_ended: bool = False


@dataclass(slots=True)
class Window:
    """Which rows are under way, and which answers are to be given next.

    Invariant: at most ``concurrency`` rows are under way, and at most twice as many are begun and not given; after
    a failure none is begun.

    Args:
        concurrency: At least 1.
        ordered: Whether what was begun first is given first; else what has ended first.
    """

    concurrency: int
    ordered: bool
    _places: deque[_Place] = field(default_factory=deque)  # in the order in which they are given
    _under_way: int = 0
    _failed: bool = False

    @property
    def takes_more(self) -> bool:
        """Whether another row may be begun."""
        waiting = len(self._places) if self.ordered else len(self._places) + self._under_way
        return not self._failed and self._under_way < self.concurrency and waiting < 2 * self.concurrency

    @property
    def is_empty(self) -> bool:
        """Whether everything that was begun has been given."""
        return not self._under_way and not self._places

    def begin(self, row: Row, task: asyncio.Task[Prediction]) -> _Place:
        """A row is under way."""
        self._under_way += 1
        place = _Place(row, task)
        if self.ordered:
            self._places.append(place)
        return place

    def end(self, place: _Place, *, failed: bool) -> None:
        """The answer for a row is there."""
        self._under_way -= 1
        self._failed = self._failed or failed
        place.has_ended = True
        if not self.ordered:
            self._places.append(place)

    def give(self) -> _Place | None:
        """What is to be given now, if there is anything; it leaves the window."""
        if self._places and self._places[0].has_ended:
            return self._places.popleft()
        return None


class _End(Enum):
    END = "end"


_END: Final = _End.END


class _Source:
    """Rows, one at a time, from an iterable of either kind.

    Invariant: at most one read of an async iterable is under way; nothing is read that nobody asked for.
    """

    def __init__(self, rows: Iterable[Row] | AsyncIterable[Row]) -> None:
        self.is_exhausted = False
        self.reading: list[asyncio.Task[Row | _End]] = []  # the read under way
        self._later = aiter(rows) if isinstance(rows, AsyncIterable) else None
        self._now = iter(rows) if not isinstance(rows, AsyncIterable) else None

    def next(self, news: asyncio.Event) -> Row | None:
        """The next row, if it is there; if it may come, ``news`` tells of it. Raises what reading raises."""
        if self.is_exhausted:
            return None
        row = next(self._now, _END) if self._now is not None else self._arrived(news)
        if row is _END:
            self.is_exhausted = True
            return None
        return row

    def _arrived(self, news: asyncio.Event) -> Row | _End | None:
        if not self.reading:
            task = asyncio.get_running_loop().create_task(self._read())
            task.add_done_callback(lambda _: news.set())
            self.reading.append(task)
        if not self.reading[0].done():
            return None
        return self.reading.pop().result()

    async def _read(self) -> Row | _End:
        assert self._later is not None
        return await anext(self._later, _END)


def _require_failures(what: str, failures: str) -> None:
    if failures not in ("raise", "return"):
        raise ConfigError(f"{what}: failures = {failures!r}", hint='Write failures="raise" or failures="return".')
