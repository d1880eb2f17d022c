"""Types that must hold themselves are refused; those that may are not."""

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from repertory.errors import SignatureError
from repertory.signatures import Signature, compile_signature


class Hen(BaseModel):
    egg: "Egg"


class Egg(BaseModel):
    hen: Hen


class Crowd(BaseModel):
    people: Annotated[list["Crowd"], Field(min_length=1)]


class Pair(BaseModel):
    both: tuple["Pair", int]


class Either(BaseModel):
    one: "Either | Hen"


class Tree(BaseModel):
    branches: list["Tree"]
    leaf: "Leaf | Tree"


class Leaf(BaseModel):
    up: Tree | None


class Default(BaseModel):
    inner: "Default" = None  # type: ignore[assignment]  # a default need not fit


class Table(BaseModel):
    rows: dict[str, "Table"]


def compiled(kind: type[BaseModel], text: str) -> Any:
    return compile_signature(Signature.parse(text, types={"Kind": kind}))


@pytest.mark.parametrize("kind", [Hen, Egg, Crowd, Pair, Either])
@pytest.mark.parametrize("text", ["a -> b: list[int], c: Kind", "c: Kind -> a"])
def test_a_type_that_must_hold_itself_is_refused(kind: type[BaseModel], text: str) -> None:
    with pytest.raises(SignatureError, match=rf"Signature\.c: {kind.__name__} must hold itself, without end"):
        compiled(kind, text)


@pytest.mark.parametrize("kind", [Tree, Leaf, Default, Table])
def test_a_type_that_may_hold_itself_is_not(kind: type[BaseModel]) -> None:
    assert compiled(kind, "a -> b: Kind")


def test_an_optional_one_need_not_be_given() -> None:
    assert compiled(Hen, "a -> b: Kind | None")
    assert compiled(Hen, "a -> b: list[Kind]")
