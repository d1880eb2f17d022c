"""Types of outputs to be said in every dialect."""

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import GenericAlias
from typing import Annotated, Any, Final, Literal, Optional, Union
from uuid import UUID

from pydantic import AnyUrl, BaseModel, Field

from repertory.signatures import CompiledSignature, OutputField, Signature, compile_signature


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Line(BaseModel):
    sku: Annotated[str, Field(pattern=r"^[A-Z]{3}-[0-9]+$")]
    quantity: Annotated[int, Field(gt=0, lt=100)] = 1
    price: Annotated[float, Field(gt=0, multiple_of=0.5)]


class Order(BaseModel):
    """What was ordered."""

    lines: Annotated[list[Line], Field(min_length=1, max_length=20, description="what is in it")]
    first: Line | None = Field(None, description="the first of them")


class Node(BaseModel):
    name: str
    children: list["Node"] = []
    parent: Optional["Node"] = None


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    good: bool


class Ping(BaseModel):
    pong: Optional["Pong"] = None


class Pong(BaseModel):
    ping: Ping | None = None


TYPES: Final[dict[str, Any]] = {
    "text": str,
    "whole number": int,
    "number": float,
    "yes or no": bool,
    "nested models": Order,
    "list of models": list[Order],
    "union": int | list[str],
    "optional": str | None,
    "discriminated union": Annotated[Cat | Dog, Field(discriminator="kind")],
    "literal": Literal["a", "b"],
    "single literal": Literal["a"],
    "mixed literal": Literal["a", 1, True, None],
    "enum": Colour,
    "tuple": tuple[int, str, int],
    "tuple of models": tuple[Cat, Dog],
    "empty tuple": tuple[()],
    "any number of the same": tuple[int, ...],
    "set": set[int],
    "bounded whole number": Annotated[int, Field(ge=-3, lt=7)],
    "threes": Annotated[int, Field(gt=0, multiple_of=3)],
    "huge bound": Annotated[int, Field(ge=0, le=10**18)],
    "bounded number": Annotated[float, Field(gt=0, le=1)],
    "text of some length": Annotated[str, Field(min_length=2, max_length=5_000)],
    "pattern": Annotated[str, Field(pattern=r"^(ab|cd)+\.[0-9]{2}$")],
    "pattern in the middle": Annotated[str, Field(pattern=r"\d")],
    "sized list": Annotated[list[int], Field(min_length=2, max_length=3)],
    "long list": Annotated[list[int], Field(max_length=100_000)],
    "date": date,
    "date and time": datetime,
    "time": time,
    "duration": timedelta,
    "decimal": Annotated[Decimal, Field(ge=0)],
    "uuid": UUID,
    "url": AnyUrl,
    "bytes": bytes,
}
"""What every dialect can say."""

DICTIONARIES: Final[dict[str, Any]] = {
    "dictionary": dict[str, int],
    "bare dictionary": dict,
    "dictionary of models": dict[str, Order],
    "dictionary with patterns": dict[Annotated[str, Field(pattern="^[a-z]$")], int],
}
ANYTHING: Final[dict[str, Any]] = {"anything": Any, "bare list": list}
RECURSIVE: Final[dict[str, Any]] = {"recursion": Node, "recursion over another": Ping}

ALL: Final[dict[str, Any]] = {**TYPES, **DICTIONARIES, **ANYTHING, **RECURSIVE}


def compiled(annotation: Any) -> CompiledSignature:
    """A signature whose one output is ``answer``."""
    signature = Signature.parse("question -> other").append("answer", OutputField(), annotation)
    return compile_signature(signature.delete("other"))


def generic(origin: Any, *arguments: Any) -> Any:
    """``origin[arguments]``, whose arguments are only known when it runs."""
    return GenericAlias(origin, arguments)


def one_of(values: Iterable[str]) -> Any:
    """The ``Literal`` of these values."""
    literal: Any = Literal
    return literal[tuple(values)]


def union(members: Iterable[Any]) -> Any:
    """The union of these types."""
    joined: Any = Union
    return joined[tuple(members)]
