"""Messages and the methods that handle them."""

from collections.abc import Awaitable, Callable
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


def handles(message_type: type[Message[Any]]) -> Callable[[HandlerT], HandlerT]:
    """Mark an actor's method as the handler of messages of exactly this type; what it returns is the reply."""

    def mark(method: HandlerT) -> HandlerT:
        method.__handles__ = message_type  # type: ignore[attr-defined]  # functions take attributes
        return method

    return mark
