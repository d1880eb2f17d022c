"""Recorded errors come back as what they were, whatever their class takes."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import repertory.errors
from repertory.errors import ProgramError, RepertoryError, ReplyError
from repertory.runtime.recorded_errors import dump_error, load_error
from repertory.signatures.json_text import dump_json, load_json


def classes(kind: type[RepertoryError] = RepertoryError) -> Iterator[type[RepertoryError]]:
    if kind.__module__ == repertory.errors.__name__:
        yield kind
    for narrower in kind.__subclasses__():
        yield from classes(narrower)


KINDS = [*dict.fromkeys(classes())]


def value_for(annotation: Any) -> st.SearchStrategy[Any]:
    match str(annotation):
        case text if "tuple" in text:
            return st.just(())
        case text if "bool" in text:
            return st.booleans()
        case text if "int" in text:
            return st.integers()
        case text if "float" in text:
            return st.none() | st.floats(min_value=0, max_value=1e6)
        case text if "None" in text:
            return st.none() | st.text()
        case _:
            return st.text()


@st.composite
def errors(draw: st.DrawFn) -> RepertoryError:
    kind = draw(st.sampled_from(KINDS))
    given_by_position: list[Any] = []
    given_by_name: dict[str, Any] = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        value = draw(value_for(parameter.annotation))
        if parameter.kind is parameter.KEYWORD_ONLY:
            given_by_name[name] = value
        else:
            given_by_position.append(value)
    return kind(*given_by_position, **given_by_name)


def recorded(error: RepertoryError) -> RepertoryError:
    return load_error(load_json(dump_json(dump_error(error))))


@given(errors())
def test_class_text_and_attributes_come_back(error: RepertoryError) -> None:
    again = recorded(error)
    assert type(again) is type(error)
    assert {name: getattr(again, name) for name in vars(error)} == _storable(vars(error))
    assert (again.code, again.retryable) == (error.code, error.retryable)


def _storable(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value.replace("\0", "\ufffd") if isinstance(value, str) else value for name, value in values.items()
    }


@given(errors())
def test_what_was_not_kept_is_there_all_the_same(error: RepertoryError) -> None:
    told = load_error({"code": error.code, "message": error.message})
    assert set(vars(error)) <= set(dir(told))


class Refused(ProgramError):
    """One of a program's own: it has its parent's code."""

    def __init__(self, amount: int, *, reasons: list[str]) -> None:
        super().__init__(f"{amount} was refused")
        self.amount = amount
        self.reasons = reasons


def test_a_programs_own_class_comes_back_too() -> None:
    again = recorded(Refused(3, reasons=["much"]))
    assert isinstance(again, Refused)
    assert vars(again) == {**vars(Refused(3, reasons=[])), "reasons": None}


def test_a_class_that_is_there_no_more_comes_back_as_its_kind() -> None:
    told = {**dump_error(Refused(3, reasons=[])), "class": "elsewhere.Gone"}
    assert type(load_error(told)) is ProgramError
    assert type(load_error({**told, "code": "gone"})) is RepertoryError


def test_half_a_character_in_a_reply_can_be_recorded() -> None:
    again = recorded(ReplyError("no", field="x", reply="\ud800"))
    assert isinstance(again, ReplyError)
    assert (again.reply, again.trace) == ("?", ())


@pytest.mark.parametrize("kind", KINDS)
def test_every_code_leads_to_a_class_with_it(kind: type[RepertoryError]) -> None:
    assert load_error({"code": kind.code, "message": "m"}).code == kind.code
