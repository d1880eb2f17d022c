"""Single flight: equal calls at the same time are one; each caller keeps its own deadline, purse and errors.

Named after Go's ``golang.org/x/sync/singleflight``. There a call goes on whoever leaves; here it ends when the
last of those who wait for it has left.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from repertory.clock import Clock
from repertory.errors import (
    BudgetExceeded,
    ConfigError,
    DeadlineExceeded,
    LMRequestRejected,
    PriceUnknown,
    RepertoryError,
    StoreError,
)
from repertory.providers.messages import LMResponse


class Seat:
    """A caller's place in a flight.

    Attributes:
        deadline: When it leaves at the latest, on the clock; None: when the flight ends.
        accounts: The budgets that would pay if it had asked for itself.
        late: Whether the model had been asked already when it came.
        turn: Done when the flight has ended or the deadline has come.
        timer: What sets ``turn`` at the deadline; None where the flight's own deadline does.
    """

    __slots__ = ("accounts", "deadline", "late", "timer", "turn")

    def __init__(self, deadline: float | None, accounts: tuple[str, ...], *, late: bool) -> None:
        self.deadline = deadline
        self.accounts = accounts
        self.late = late
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.timer: asyncio.TimerHandle | None = None


class Flight:
    """One call under way, in a task of its own, and those who wait for its outcome.

    It has a task because whoever came first may leave first: if the call ran in that caller's own task, its
    cancellation would cut off a request that others wait for, which would be sent, and paid, once more.

    Invariants: somebody waits for a call that is under way, or it has been cancelled. Once timed, those and only
    those have a timer whose deadline comes before the call's. The call notices its own deadline itself: that time
    ran out tells of an endpoint what a cancellation does not.

    Args:
        key: What is asked of whom.
        accounts: The budgets that pay.
        refreshes: Whether the answer is sure to be a new one.
        endpoint: The endpoint's name, for errors.
        clock: What deadlines are points on.
        call: Makes the call. It does ``depart`` before it asks the model, and ``time`` before it waits for
            anything else.
        on_end: Told when the call has ended, before those who wait go on.

    Attributes:
        open: Whether others may still join.
    """

    __slots__ = (
        *("_asked", "_clock", "_deadline", "_endpoint", "_error", "_landed", "_on_end", "_payer", "_seats"),
        *("_stopped", "_task", "_timed"),
        *("accounts", "key", "open", "refreshes"),
    )

    def __init__(
        self,
        key: str,
        accounts: tuple[str, ...],
        *,
        refreshes: bool,
        endpoint: str,
        clock: Clock,
        call: Callable[["Flight"], Coroutine[Any, Any, LMResponse]],
        on_end: Callable[["Flight"], None],
    ) -> None:
        self.key = key
        self.accounts = accounts
        self.refreshes = refreshes
        self.open = True
        self._endpoint = endpoint
        self._clock = clock
        self._on_end = on_end
        self._timed = False
        self._asked = False
        self._landed = False
        self._stopped: RepertoryError | None = None
        self._deadline: float | None = None  # the call's, once the model is asked
        self._seats: dict[Seat, None] = {}  # in the order in which they came
        self._payer: Seat | None = None
        self._error: BaseException | None = None
        self._task = asyncio.get_running_loop().create_task(call(self))
        self._task.add_done_callback(self._land)

    def board(self, deadline: float | None, accounts: tuple[str, ...]) -> Seat:
        """Give a caller a seat; it goes on with ``wait`` at once."""
        seat = Seat(deadline, accounts, late=self._asked)
        self._seats[seat] = None
        if self._timed:
            self._set_timer(seat)
        return seat

    async def wait(self, seat: Seat) -> None:
        """Return when the call has ended. Whoever is the last to be cancelled here cancels the call.

        Raises:
            DeadlineExceeded: The caller's own deadline came first.
        """
        try:
            await seat.turn
        finally:
            del self._seats[seat]
            if seat.timer is not None:
                seat.timer.cancel()
            if not self._seats and not self._task.done():
                self.open = False
                self._task.cancel()
        if not self._landed:
            raise DeadlineExceeded(
                f"{self._endpoint}: the deadline passed while the call waited for the answer to an equal one"
            )

    def time(self) -> None:
        """From now on, let those leave whose deadline comes."""
        self._timed = True
        for seat in self._seats:
            self._set_timer(seat)

    def depart(self) -> float | None:
        """Note that the model is asked now; return the latest deadline of those who wait, None if one has none."""
        deadlines = [seat.deadline for seat in self._seats if seat.deadline is not None]
        self._deadline = max(deadlines) if deadlines and len(deadlines) == len(self._seats) else None
        self._asked = True
        self.time()
        return self._deadline

    def settles(self, seat: Seat) -> bool:
        """Whether the outcome is also that of ``seat``; if not, its caller has to ask for itself.

        A failure may be another caller's alone: it had less time, or its budgets were exhausted.
        """
        error = self._error
        if isinstance(error, DeadlineExceeded):
            return not (seat.late and self._outlasts(seat.deadline))
        # A call that nothing bounds is rejected for a limited account's sake; an endpoint's rejection looks alike.
        if isinstance(error, BudgetExceeded | PriceUnknown | LMRequestRejected | ConfigError | StoreError):
            return seat.accounts == self.accounts
        return True

    def outcome(self, seat: Seat) -> LMResponse:
        """Return the reply, or raise what the call raised: to each caller an error of its own."""
        error = self._error
        if error is None:
            return self._task.result()
        if seat is self._payer or not isinstance(error, RepertoryError):
            raise error
        raise _copy(error)

    def pays(self, seat: Seat) -> bool:
        """Whether ``seat`` is the one caller who is told what the call cost."""
        return seat is self._payer

    def stop(self, why: RepertoryError) -> asyncio.Task[LMResponse]:
        """Cancel the call, and raise ``why`` to those who wait for it; return its task."""
        self.open = False
        self._stopped = why
        self._task.cancel()
        return self._task

    def _land(self, task: asyncio.Task[LMResponse]) -> None:
        self.open = False
        self._landed = True
        if task.cancelled():
            self._error = self._stopped or asyncio.CancelledError()
        else:
            self._error = task.exception()
        self._payer = next(iter(self._seats), None)
        for seat in self._seats:
            _wake(seat.turn)
        self._on_end(self)

    def _set_timer(self, seat: Seat) -> None:
        """Give ``seat`` a timer if it needs one, and none if not."""
        if seat.timer is not None:
            seat.timer.cancel()
            seat.timer = None
        deadline = seat.deadline
        if deadline is not None and (self._deadline is None or deadline < self._deadline):
            left = deadline - self._clock.monotonic()
            seat.timer = asyncio.get_running_loop().call_later(left, _wake, seat.turn)

    def _outlasts(self, deadline: float | None) -> bool:
        """Whether who has until ``deadline`` has time left now that the call has none."""
        if deadline is None:
            return True
        now = self._clock.monotonic()
        return deadline > (now if self._deadline is None else max(now, self._deadline))


def _wake(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


def _copy(error: RepertoryError) -> RepertoryError:
    """An error equal to ``error``: one that many callers raise would gather the traceback of each of them."""
    kind = type(error)
    copy = kind.__new__(kind, *error.args)  # not through __init__, which takes other arguments in some classes
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error.__cause__
    return copy.with_traceback(error.__traceback__)
