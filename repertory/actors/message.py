"""Messages and the methods that handle them."""

from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any, Generic, TypeVar

ReplyT = TypeVar("ReplyT", covariant=True)
HandlerT = TypeVar("HandlerT", bound=Callable[[Any, Any], Awaitable[Any]])


class Message(Generic[ReplyT]):
    """Base of messages; the parameter is the type of the reply that an ``ask`` gets.

    ```python
    @dataclass(frozen=True, slots=True)
    class Add(Message[int]):
        amount: int
    ```
    """

    __slots__ = ()


def handles(message_type: type[Message[Any]], *, when: str = "") -> Callable[[HandlerT], HandlerT]:
    """Mark an actor's method as the handler of messages of exactly this type; what it returns is the reply.

    Args:
        when: The behaviour (see `Actor.become`) in which it is the handler; "": in every one that has no other.

    Raises TypeError for what is not a type of message, or a method that is not ``async``.
    """
    given: object = message_type  # `@handles` without a message is given the method
    if not (isinstance(given, type) and issubclass(given, Message)):
        raise TypeError(f"@handles({message_type!r}): write @handles(TheMessage), a subclass of Message")

    def mark(method: HandlerT) -> HandlerT:
        is_async: bool = iscoroutinefunction(method)
        if not is_async:
            raise TypeError(f"@handles: {method!r} must be `async def`; if it blocks, mark it @blocking too")
        marks = getattr(method, "__handles__", ())
        method.__handles__ = (*marks, (message_type, when))  # type: ignore[attr-defined]  # functions take attributes
        return method

    return mark
