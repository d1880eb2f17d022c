"""Types that take values as arguments: ``Code["python"]``, and ``Code[Literal["python"]]`` for type checkers."""

from typing import TYPE_CHECKING, Any, Generic, Literal, get_args, get_origin

from typing_extensions import TypeVar

Arguments = TypeVar("Arguments", default=Any)

if TYPE_CHECKING:

    class Parametrised(Generic[Arguments]):
        """What type checkers see: a generic class whose argument is a Literal."""

else:

    class Parametrised:
        """What it is when it runs: nothing. The types say themselves what their arguments mean."""

        __slots__ = ()

        def __class_getitem__(cls, arguments: object) -> type:
            return cls


def values_of(arguments: object) -> tuple[Any, ...]:
    """The values in brackets, bare or in a Literal."""
    given: tuple[Any, ...] = arguments if isinstance(arguments, tuple) else (arguments,)
    return tuple(
        value
        for argument in given
        for value in (get_args(argument) if get_origin(argument) == Literal else (argument,))
    )
