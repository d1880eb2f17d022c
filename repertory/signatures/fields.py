"""What a signature's author writes about one field: its role, description, default and constraints."""

import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, cast

from repertory.errors import SignatureError
from repertory.signatures.source import clipped

Role: TypeAlias = Literal["input", "output"]
Bound: TypeAlias = float | Decimal | date | time | timedelta

RESERVED_INPUTS: Final = MappingProxyType({"demos": "a predictor takes `demos=` in each call"})


RESERVED_OUTPUTS: Final = frozenset(
    {"get", "items", "keys", "lm_calls", "outputs", "parameters_version", "trace", "usage", "values"}
)
"""What predictions have as attributes of their own."""


CONSTRAINTS: Final = ("gt", "ge", "lt", "le", "min_length", "max_length", "pattern", "multiple_of")
"""The constraints a field can be declared with, by pydantic's names."""


class Missing(Enum):
    """The absence of a default, where None is a default like any other."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING


@dataclass(frozen=True, slots=True)
class FieldMark:
    """What ``InputField`` and ``OutputField`` return: everything about a field but its name and type."""

    role: Role
    desc: str = ""
    default: object = MISSING
    constraints: Mapping[str, object] = field(default_factory=dict)
    examples: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class DeclaredField:
    """One field of a signature as declared, its annotation resolved to a type.

    ``constraints`` are keyword arguments of ``pydantic.Field``; the default and examples are not validated.
    """

    name: str
    annotation: Any  # whatever can stand after a colon: a class, a generic, a union, a Literal
    mark: FieldMark


def InputField(
    *,
    desc: str = "",
    default: object = MISSING,
    examples: Sequence[object] = (),
    gt: Bound | None = None,
    ge: Bound | None = None,
    lt: Bound | None = None,
    le: Bound | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
    multiple_of: float | Decimal | None = None,
) -> Any:
    """Declare an input of a signature.

    Args:
        desc: What the input is, for the model.
        default: The value of a call that leaves it out; without one, it must be given.
        examples: Values it can have, to show what is meant.
        gt: Exclusive lower bound; ``ge``: inclusive; ``lt``, ``le``: the upper ones.
        min_length: Fewest characters or items; ``max_length``: most.
        pattern: A regular expression that occurs in the string (pydantic's Rust dialect).
        multiple_of: What the number is a multiple of.

    Returns:
        A mark the signature collects; typed ``Any`` so that ``article: str = InputField()`` type-checks.

    Raises:
        SignatureError: The examples are no list.
    """
    constraints = _stated(
        gt=gt,
        ge=ge,
        lt=lt,
        le=le,
        min_length=min_length,
        max_length=max_length,
        pattern=pattern,
        multiple_of=multiple_of,
    )
    return FieldMark("input", desc, copied(default), constraints, _examples(examples))


def OutputField(
    *,
    desc: str = "",
    default: object = MISSING,
    examples: Sequence[object] = (),
    gt: Bound | None = None,
    ge: Bound | None = None,
    lt: Bound | None = None,
    le: Bound | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
    multiple_of: float | Decimal | None = None,
) -> Any:
    """Declare an output of a signature. The arguments mean what they mean for ``InputField``.

    An output with a default may be left out by the model; that its value is the default is then in the trace.

    Raises:
        SignatureError: The examples are no list.
    """
    constraints = _stated(
        gt=gt,
        ge=ge,
        lt=lt,
        le=le,
        min_length=min_length,
        max_length=max_length,
        pattern=pattern,
        multiple_of=multiple_of,
    )
    return FieldMark("output", desc, copied(default), constraints, _examples(examples))


def check_name(name: str, role: Role) -> None:
    """Refuse a name that could not be passed as an argument or read as an attribute.

    Raises:
        SignatureError: Naming the field and what to call it instead.
    """
    if not name.isidentifier() or keyword.iskeyword(name):
        raise SignatureError(
            f"`{clipped(name)}` cannot name a field: it is not a Python identifier",
            hint="Use letters, digits and underscores, not starting with a digit, and no Python keyword.",
        )
    if name.startswith("_"):
        raise SignatureError(
            f"`{clipped(name)}` cannot name a field: it starts with an underscore",
            hint=f"Call it `{clipped(name.strip('_')) or 'value'}`.",
        )
    if role == "input" and name in RESERVED_INPUTS:
        raise SignatureError(
            f"`{name}` cannot name an input: {RESERVED_INPUTS[name]}", hint=f"Call it `given_{name}`."
        )
    if role == "output" and name in RESERVED_OUTPUTS:
        raise SignatureError(
            f"`{name}` cannot name an output: predictions have an attribute of that name",
            hint=f"Call it `the_{name}`, or what it is in your task.",
        )


def _stated(**constraints: object) -> Mapping[str, object]:
    return MappingProxyType({name: value for name, value in constraints.items() if value is not None})


def copied(value: object) -> object:
    """``value`` with lists, dicts and sets of its own: a signature does not change with what it was made of."""
    try:
        return _copied(value, {})
    except RecursionError:  # compilation refuses it
        return value


def _copied(value: object, made: dict[int, object]) -> object:
    if id(value) in made:
        return made[id(value)]  # it contains itself: compilation refuses that
    kind = type(value)
    if kind is list:
        items: list[object] = []
        made[id(value)] = items
        items.extend(_copied(item, made) for item in cast("list[object]", value))
        return items
    if kind is dict:
        pairs: dict[object, object] = {}
        made[id(value)] = pairs
        pairs.update((key, _copied(item, made)) for key, item in cast("dict[object, object]", value).items())
        return pairs
    if kind is tuple:
        return tuple(_copied(item, made) for item in cast("tuple[object, ...]", value))
    return set(cast("set[object]", value)) if kind is set else value


def _examples(examples: Sequence[object]) -> tuple[object, ...]:
    if not isinstance(examples, list | tuple):
        raise SignatureError(
            f"examples are a list of values, got {type(examples).__name__}", hint="Write `examples=[...]`."
        )
    return tuple(map(copied, examples))
