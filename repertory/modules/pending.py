"""Pending predictions: what the call of a module gives, before the answer is there.

A `Pending` can be awaited for its `Prediction`. Its fields can be handed to the next call at once, as
`Reference`s to values that are yet to come; so straight-line code is a graph whose independent calls run side
by side (promise pipelining: Liskov and Shrira 1988, doi:10.1145/960116.54016).
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterator
from types import TracebackType
from typing import Any, NoReturn, Self

from repertory.errors import ProgramError
from repertory.modules.prediction import Prediction
from repertory.modules.record import Record


class Pending(Coroutine[Any, Any, Prediction]):
    """A prediction that may not be there yet.

    It is a coroutine as far as asyncio is concerned (`asyncio.run`, `gather` and `TaskGroup` take it), but it can
    be awaited as often as one likes, by as many tasks. Cancelling one that waits for it gives up the work only
    where nobody else waits.

    Args:
        label: What errors call it, such as the path of its module.
        begin: Starts the work and returns its outcome; called when it is first awaited.
        outcome: The outcome of work that has begun already, instead of ``begin``.
        fields: Names of the outputs, where they are known beforehand.
        place: The run that does the work, and the number of the step there.

    Attributes:
        heard: Whether anybody has asked for the outcome.
        waiting: How many wait for the outcome.

    Invariant: ``_drivers`` has, by its task, each coroutine that has been sent into this one and has not ended.

    A field called like a method of this class is read as an item: ``pending["close"]``.
    """

    __slots__ = ("_begin", "_drivers", "_fields", "heard", "label", "outcome", "place", "waiting")

    def __init__(
        self,
        label: str,
        begin: Callable[[], Coroutine[Any, Any, Prediction]] | None = None,
        *,
        outcome: "asyncio.Future[Prediction] | None" = None,
        fields: tuple[str, ...] | None = None,
        place: tuple[object, int] | None = None,
    ) -> None:
        self.label = label
        self.place = place
        self.heard = False
        self.outcome = outcome
        self._begin = begin
        self._fields = fields
        self.waiting = 0
        self._drivers: dict[object, Generator[Any, None, Prediction]] | None = None

    def __await__(self) -> Generator[Any, None, Prediction]:
        outcome = self.begun()
        if not outcome.done():
            yield from _Wait(self, outcome)
        return outcome.result()

    def begun(self) -> "asyncio.Future[Prediction]":
        """The outcome; the work is begun if it was not."""
        self.heard = True
        if self.outcome is None:
            assert self._begin is not None
            self.outcome = asyncio.get_running_loop().create_task(self._begin(), name=self.label)
        return self.outcome

    def cancel(self) -> None:
        """Give up the work; whoever awaits it is cancelled too. Nothing happens where it has ended."""
        if self.outcome is None:
            self.close()
        else:
            self.outcome.cancel()

    @property
    def done(self) -> bool:
        """Whether the outcome is there."""
        return self.outcome is not None and self.outcome.done()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # copy, pickle and inspection look for methods
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Any:
        if self._fields is not None and name not in self._fields:
            raise AttributeError(
                f"the prediction of {self.label} has no {name!r}; it has {', '.join(self._fields)}"
            )
        return Reference(self, (Key(name),))

    __iter__ = None  # a loop would ask for item after item, and be given references without end

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self

    def __repr__(self) -> str:
        return f"<Pending {self.label}>"

    # --- what makes it a coroutine ---

    def send(self, value: None) -> Any:
        """As a coroutine's, of which each task that sends has one of its own."""
        return self._drive(lambda steps: steps.send(value))

    def throw(
        self,
        kind: type[BaseException] | BaseException,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
    ) -> Any:
        """As `send`."""
        error = kind if isinstance(kind, BaseException) else kind()
        return self._drive(lambda steps: steps.throw(error))

    def _drive(self, go_on: Callable[[Generator[Any, None, Prediction]], Any]) -> Any:
        if self._drivers is None:
            self._drivers = {}
        driver = _running_task()
        if (steps := self._drivers.get(driver)) is None:
            steps = self._drivers[driver] = self.__await__()
        try:
            return go_on(steps)
        except BaseException:  # StopIteration too: it has ended, and the next one begins anew
            del self._drivers[driver]
            raise

    def close(self) -> None:
        """Give it up where it was not begun."""
        self._begin = self._begin if self.outcome is not None else _given_up

    def __del__(self) -> None:
        if getattr(self, "_begin", None) not in (None, _given_up) and self.outcome is None:
            import warnings

            warnings.warn(f"{self.label} was called but never awaited", RuntimeWarning, stacklevel=2)


class _Wait(asyncio.Future[None]):
    """Somebody's waiting for a pending prediction; done when that has its outcome.

    Invariant: while it is not done it is counted in ``waiting`` of the prediction.
    """

    def __init__(self, pending: Pending, outcome: "asyncio.Future[Prediction]") -> None:
        super().__init__(loop=outcome.get_loop())
        self._pending = pending
        self._outcome = outcome
        pending.waiting += 1
        outcome.add_done_callback(self._wake)

    def cancel(self, msg: Any = None) -> bool:
        """Wait no more; for the last that waits that is to give up the work, and to wait for its end."""
        if self.done():
            return False
        if self._pending.waiting == 1:
            return self._outcome.cancel(msg)
        self._outcome.remove_done_callback(self._wake)
        self._pending.waiting -= 1
        return super().cancel(msg)

    def _wake(self, _: object) -> None:
        self._pending.waiting -= 1
        self.set_result(None)


def _running_task() -> "asyncio.Task[Any] | None":
    try:
        return asyncio.current_task()
    except RuntimeError:  # somebody sends by hand
        return None


async def _given_up() -> Prediction:
    raise ProgramError("this prediction was given up before it was begun")


class Key(str):
    """A step to a field or an item by its name."""

    __slots__ = ()


class Attribute(str):
    """A step to an attribute by its name."""

    __slots__ = ()


class Reference:
    """A value within a prediction that may not be there yet: one of its fields, or something inside that.

    It can be handed to the call of a module, alone or inside of lists, tuples and dicts, and awaited. Anything
    else would need the value, and raises ProgramError.
    """

    __slots__ = ("_path", "_pending")

    def __init__(self, pending: Pending, path: tuple[Key | Attribute | int, ...]) -> None:
        self._pending = pending
        self._path = path

    def __await__(self) -> Generator[Any, None, Any]:
        prediction = yield from self._pending.__await__()
        return value_at(prediction, self._path)

    def __getattr__(self, name: str) -> "Reference":
        if name.startswith("_"):
            raise AttributeError(name)
        return Reference(self._pending, (*self._path, Attribute(name)))

    def __getitem__(self, key: str | int) -> "Reference":
        return Reference(self._pending, (*self._path, Key(key) if isinstance(key, str) else key))

    def __repr__(self) -> str:
        return f"<Reference {described(self)}>"

    def _is_needed(self, *_: object) -> NoReturn:
        raise ProgramError(
            f"{described(self)} is not there yet, and its value is needed",
            hint="Put `await` before it, or before the call that gives it.",
        )

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self

    __bool__ = __str__ = __len__ = __int__ = __float__ = __index__ = __iter__ = __contains__ = _is_needed
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __hash__ = _is_needed
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __mod__ = __rmod__ = _is_needed
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __pow__ = __rpow__ = _is_needed
    __and__ = __rand__ = __or__ = __ror__ = __neg__ = __abs__ = __round__ = _is_needed
    __call__ = __format__ = __reduce_ex__ = _is_needed


def described(reference: Reference) -> str:
    """``reference`` as it reads in code."""
    text = reference._pending.label
    for number, step in enumerate(reference._path):
        text += f".{step}" if isinstance(step, Attribute) or number == 0 else f"[{step!r}]"
    return text


def source_of(reference: Reference) -> tuple[Pending, tuple[Key | Attribute | int, ...]]:
    """The prediction that ``reference`` leads into, and the way inside of it."""
    return reference._pending, reference._path


def value_at(prediction: Prediction, path: tuple[Key | Attribute | int, ...]) -> Any:
    """What ``path`` leads to within ``prediction``. Raises ProgramError naming the step that leads nowhere."""
    value: Any = prediction
    for step in path:
        try:
            value = getattr(value, step) if isinstance(step, Attribute) else value[_plain(step)]
        except (AttributeError, KeyError, IndexError, TypeError) as error:
            raise ProgramError(
                f"there is no {str(step)!r} in a {type(value).__name__}: {error}",
                hint="A reference leads to what the signature says: fields, attributes of models, items.",
            ) from None
    return value


def _plain(step: Key | Attribute | int) -> str | int:
    return str(step) if isinstance(step, str) else step


def references_in(value: object) -> Iterator[Reference]:
    """The references in ``value``, which may be inside of lists, tuples, dicts and records."""
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, dict | Record):
        for member in value.values():
            yield from references_in(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from references_in(member)


def resolved(value: Any) -> Any:
    """``value`` with what its references lead to, whose predictions must all be there."""
    if isinstance(value, Reference):
        pending, path = source_of(value)
        return value_at(pending.begun().result(), path)
    if next(references_in(value), None) is None:
        return value  # as it is, of whatever kind
    if isinstance(value, dict | Record):
        values = {key: resolved(member) for key, member in value.items()}
        return value.but(values) if isinstance(value, Prediction) else values
    members = [resolved(member) for member in value]
    if isinstance(value, list):
        return members
    return value._make(members) if hasattr(value, "_make") else tuple(members)


async def arrived(value: Any) -> Any:
    """``value`` with what its references lead to, once that is there.

    Raises what the predictions raise that it refers to.
    """
    waited_for = {reference._pending for reference in references_in(value)}
    if not waited_for:
        return value
    # Not awaited, which would cancel what others wait for too when the one who waits here is cancelled.
    there, _ = await asyncio.wait({pending.begun() for pending in waited_for}, return_when=asyncio.FIRST_EXCEPTION)
    for outcome in there:
        outcome.result()  # raises what it ended with
    return resolved(value)


async def whole(answer: Any) -> Any:
    """What a ``forward`` has returned, once it is there, with what its references lead to."""
    if isinstance(answer, Pending):
        answer = await answer
    return await arrived(answer) if isinstance(answer, Prediction) else answer
