"""Which types can be taken for others, against what pydantic really accepts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, BeforeValidator, RootModel, TypeAdapter, ValidationError, model_validator
from typing_extensions import TypedDict

from repertory import Code, Image, Score
from repertory.modules.graph.fit import could_fit
from repertory.modules.graph.parts import NoSuchPart, type_at
from repertory.modules.pending import Attribute, Key


class Colour(Enum):
    RED = "red"


class Size(StrEnum):
    BIG = "big"


class Item(BaseModel):
    name: str
    price: float | None = None

    @property
    def label(self) -> str:
        return self.name


class SpecialItem(Item):
    extra: int = 0


class Other(BaseModel):
    name: str


class Lenient(BaseModel):
    name: str

    @model_validator(mode="before")
    @classmethod
    def from_text(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class Names(RootModel[list[str]]):
    pass


@dataclass
class Point:
    x: int
    items: list[Item]


class Row(TypedDict):
    name: str
    item: Item


# Of each type some values; no container is empty, and None is the value of nothing but its own type.
VALUES: dict[Any, list[Any]] = {
    str: ["", "a", "1", "2024-01-01", "12:00", "true", "red", "P1D", "12345678123456781234567812345678"],
    int: [0, 1, 7],
    float: [0.0, 1.0, 0.5],
    bool: [True, False],
    bytes: [b"a", b"1"],
    Decimal: [Decimal(1), Decimal("0.5")],
    date: [date(2024, 1, 1)],
    datetime: [datetime(2024, 1, 1)],
    time: [time(12)],
    timedelta: [timedelta(seconds=1)],
    UUID: [UUID(int=1)],
    type(None): [None],
    Colour: [Colour.RED],
    Size: [Size.BIG],
    Literal["red", 1]: ["red", 1],
    Literal["1", "big"]: ["1", "big"],
    Item: [Item(name="a")],
    SpecialItem: [SpecialItem(name="a")],
    Other: [Other(name="a")],
    Point: [Point(1, [])],
    Row: [{"name": "a", "item": Item(name="b")}],
    Names: [Names(["a"])],
    Lenient: [Lenient(name="a")],
    Code: [Code("a")],
}

Typed = tuple[Any, Any]  # a type, and one of its values


def _wider(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    def of(make_type: Any, make_value: Any) -> st.SearchStrategy[Typed]:
        return inner.map(lambda each: (make_type(each[0]), make_value(each[1])))

    two = st.tuples(inner, inner)
    return st.one_of(
        of(lambda kind: list[kind], lambda value: [value]),  # type: ignore[valid-type]  # made as it runs
        of(lambda kind: Sequence[kind], lambda value: [value]),  # type: ignore[valid-type]  # likewise
        of(lambda kind: tuple[kind, ...], lambda value: (value,)),  # type: ignore[valid-type]  # likewise
        of(lambda kind: dict[str, kind], lambda value: {"a": value}),  # type: ignore[valid-type]  # likewise
        of(lambda kind: reduce(or_, (kind, None)), lambda value: value),
        of(lambda kind: Annotated[kind, "said"], lambda value: value),
        two.map(lambda each: (tuple[each[0][0], each[1][0]], (each[0][1], each[1][1]))),  # type: ignore[misc]  # likewise
        two.map(lambda each: (reduce(or_, (each[0][0], each[1][0])), each[0][1])),
    )


scalars = st.sampled_from([(kind, value) for kind, values in VALUES.items() for value in values])
typed = st.recursive(scalars, _wider, max_leaves=4)


@settings(max_examples=400)
@example(given=(list[Other], [Other(name="a")]), wanted=(list[tuple[list[str], ...]], []))
@given(given=typed, wanted=typed)
def test_what_pydantic_accepts_is_never_refused(given: Typed, wanted: Typed) -> None:
    source, value = given
    target, _ = wanted
    try:
        TypeAdapter(target).validate_python(value)
    except ValidationError:
        return
    assert could_fit(source, target) or "None" in repr(value)


@pytest.mark.parametrize("target", VALUES)
def test_what_pydantic_accepts_of_the_plain_types_is_never_refused(target: Any) -> None:
    adapter = TypeAdapter(target)
    for source, values in VALUES.items():
        for value in values:
            try:
                adapter.validate_python(value)
            except ValidationError:
                continue
            assert could_fit(source, target), (source, target, value)


@given(each=typed)
def test_every_type_fits_itself(each: Typed) -> None:
    assert could_fit(each[0], each[0])


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (int, str),
        (bool, str),
        (int | None, str),
        (list[str], str),
        (str, list[str]),
        (list[int], list[str]),
        (list[list[str]], list[str]),
        (dict[str, int], dict[str, list[int]]),
        (tuple[int, str], tuple[int, int, int]),
        (tuple[str, int], list[str]),
        (Literal[1, 2], str),
        (Literal["a", "b"], Literal["c"]),
        (Item, str),
        (Item, Other),
        (Item, dict[str, Any]),
        (list[Item], list[Other]),
        (date, str),
        (UUID, int),
        (int, list[int] | None),
        (int | float, str | list[str]),
        (type(None), str),
        (int, list),
    ],
)
def test_what_no_value_passes_is_refused(source: Any, target: Any) -> None:
    assert not could_fit(source, target)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (int, float),
        (str, int),
        (str, Literal["a"]),
        (str, Colour),
        (str | None, str),
        (int | str, str),
        (Any, str),
        (str, Any),
        (list, list[int]),
        (list[str], set[str]),
        (dict[str, Any], Item),
        (SpecialItem, Item),
        (Item, SpecialItem),
        (str, Lenient),
        (str, Names),
        (list[str], Names),
        (str, Annotated[int, BeforeValidator(len)]),
        (str, Image),
        (float, Score),
    ],
)
def test_what_may_pass_is_allowed(source: Any, target: Any) -> None:
    assert could_fit(source, target)


@pytest.mark.parametrize(
    ("annotation", "path", "found"),
    [
        (Item, (Attribute("name"),), str),
        (list[Item], (0, Attribute("name")), str),
        (Point, (Attribute("items"), 3, Attribute("price")), float | None),
        (Row, (Key("item"), Attribute("name")), str),
        (dict[str, list[int]], (Key("a"), 0), int),
        (tuple[int, str], (1,), str),
        (tuple[int, ...], (5,), int),
        (Item | None, (Attribute("name"),), str),
        (Item | Other, (Attribute("price"),), float | None),
        (Item, (Attribute("label"),), Any),
        (Any, (Attribute("x"), 0, Key("y")), Any),
        (dict, (Key("a"),), Any),
        (Annotated[list[str], "said"], (0,), str),
        (str, (0,), str),
    ],
)
def test_a_path_leads_to_the_type_of_what_is_there(annotation: Any, path: Any, found: Any) -> None:
    assert type_at(annotation, path) == found


@pytest.mark.parametrize(
    ("annotation", "path", "reason"),
    [
        (Item, (Attribute("nam"),), "Item has no 'nam'"),
        (list[Item], (Attribute("name"),), "list[Item] has no 'name'"),
        (Item, (Key("name"),), "Item has no 'name'"),
        (Row, (Key("nam"),), "Row has no 'nam'"),
        (dict[str, int], (Attribute("a"),), "dict[str, int] has no 'a'"),
        (tuple[int, str], (2,), "tuple[int, str] has no item 2"),
        (set[str], (0,), "set[str] has no order, and so no item 0"),
        (int, (0,), "int has no item 0"),
        (str, (Attribute("name"),), "str has no 'name'"),
        (int | None, (Attribute("name"),), "int has no 'name'"),
        (None, (Attribute("name"),), "None has no 'name'"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(annotation: Any, path: Any, reason: str) -> None:
    with pytest.raises(NoSuchPart) as refused:
        type_at(annotation, path)
    assert str(refused.value) == reason
