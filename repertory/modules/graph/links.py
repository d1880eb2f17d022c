"""What goes into a node of a graph: constants, and links to where a value comes from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from repertory.modules.pending import Attribute, Key

Step: TypeAlias = Key | Attribute | int
Kind: TypeAlias = type[list[Any]] | type[tuple[Any, ...]] | type[dict[Any, Any]]


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that is known beforehand."""

    value: object


@dataclass(frozen=True, slots=True)
class Link:
    """A value that comes from elsewhere.

    Attributes:
        node: The node that gives it; None: it is an input of the program.
        path: The field, and the way inside of it; empty where a whole prediction was handed on.
    """

    node: str | None
    path: tuple[Step, ...]

    @property
    def field(self) -> str | None:
        """The output, or the input of the program, that it leads into."""
        return str(self.path[0]) if self.path else None

    def __str__(self) -> str:
        """As it is written in a definition: ``document``, ``facts.items[0].name``."""
        text = "" if self.node is None else self.node
        for number, step in enumerate(self.path):
            if number == 0 or isinstance(step, Attribute):
                text += f".{step}" if text else str(step)
            else:
                text += f"[{str(step)!r}]" if isinstance(step, Key) else f"[{step}]"
        return text


@dataclass(frozen=True, slots=True)
class Several:
    """A list, a tuple or a dict with links somewhere inside.

    Attributes:
        kind: Which of them.
        parts: What is in it; keys are positions in a list and in a tuple.
    """

    kind: Kind
    parts: tuple[tuple[object, "Value"], ...]


Value: TypeAlias = Constant | Link | Several


def links_in(value: Value) -> Iterator[Link]:
    """The links in ``value``, in the order written."""
    if isinstance(value, Link):
        yield value
    elif isinstance(value, Several):
        for _, part in value.parts:
            yield from links_in(part)


def several(kind: Kind, parts: Sequence[tuple[object, Value]]) -> Constant | Several:
    """What ``parts`` make together: a constant where nothing in it comes from elsewhere."""
    known: list[tuple[Any, Any]] = [(key, part.value) for key, part in parts if isinstance(part, Constant)]
    if len(known) < len(parts):
        return Several(kind, tuple(parts))
    return Constant(dict(known) if kind is dict else kind([value for _, value in known]))


def value_text(value: Value) -> str:
    """``value`` as Python would write it."""
    if isinstance(value, Constant):
        return repr(value.value)
    if isinstance(value, Link):
        return str(value)
    if value.kind is dict:
        return f"{{{', '.join(f'{key!r}: {value_text(part)}' for key, part in value.parts)}}}"
    listed = ", ".join(value_text(part) for _, part in value.parts)
    return f"[{listed}]" if value.kind is list else f"({listed},)"
