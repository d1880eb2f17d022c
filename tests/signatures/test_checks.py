"""Checks: which functions can be one, and what their verdicts mean."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from repertory.errors import SignatureError
from repertory.signatures import Check, InputField, OutputField, Signature, check

SHORT = "the summary must be shorter than the article"


class Summary(Signature):
    """Sum it up."""

    article: str = InputField()
    summary: str = OutputField()
    words: int = OutputField()

    @check(SHORT)
    def is_shorter(summary: str, article: str) -> bool:
        return len(summary) < len(article)

    @check("better in one sentence", required=False)
    @staticmethod
    def is_one_sentence(summary: str) -> bool:
        return summary.count(".") <= 1


def test_a_class_collects_its_checks_in_order() -> None:
    assert [(each.name, each.parameters, each.required) for each in Summary.checks] == [
        ("is_shorter", ("summary", "article"), True),
        ("is_one_sentence", ("summary",), False),
    ]
    assert not hasattr(Summary, "is_shorter")


def test_a_decorated_function_can_still_be_called() -> None:
    assert Summary.checks[0]("ab", article="abc") is True


def verdict(function: Any) -> str | None:
    return check("wrong")(function).failure({"a": 1}, {"b": 2})


def fails(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("returned", "told"),
    [(True, None), (None, None), (False, "wrong"), ("b is 2", "b is 2"), ("", "wrong")],
)
def test_a_verdict_is_a_bool_a_message_or_nothing(returned: object, told: str | None) -> None:
    def decide(b: int) -> object:
        return returned

    assert verdict(decide) == told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("b is 2"), "wrong: b is 2"),
        (ValueError(), "wrong"),
        (AssertionError("b is 2"), "wrong: b is 2"),
        (UnicodeError("b is 2"), "wrong: b is 2"),
    ],
)
def test_a_value_or_assertion_error_fails_with_its_text(error: Exception, told: str) -> None:
    def decide(b: int) -> None:
        fails(error)

    assert verdict(decide) == told


@pytest.mark.parametrize("error", [TypeError("unsupported"), KeyError("x"), ZeroDivisionError(), RecursionError()])
def test_another_error_is_the_check_s_own(error: Exception) -> None:
    def decide(b: int) -> None:
        fails(error)

    with pytest.raises(SignatureError, match=f"check decide failed itself: {type(error).__name__}") as told:
        verdict(decide)
    assert told.value.__cause__ is error


@pytest.mark.parametrize("returned", [1, 0.5, [], object()])
def test_another_verdict_is_the_check_s_mistake(returned: object) -> None:
    def decide(b: int) -> object:
        return returned

    with pytest.raises(SignatureError, match=f"check decide returned a {type(returned).__name__}") as told:
        verdict(decide)
    assert "Return True or False" in (told.value.hint or "")


async def slow(b: int) -> bool:
    return True


def test_a_check_that_returns_a_coroutine_is_refused_and_the_coroutine_closed() -> None:
    def decide(b: int) -> object:
        return slow(b)

    with pytest.raises(SignatureError, match="check decide returned a coroutine"):
        verdict(decide)


def test_a_check_gets_inputs_and_outputs_by_name_and_all_outputs_as_a_mapping() -> None:
    seen: list[object] = []

    @check("wrong")
    def decide(a: int, *, b: int, outputs: Mapping[str, Any]) -> None:
        seen.extend([a, b, dict(outputs), hasattr(outputs, "clear")])

    assert decide.failure({"a": 1}, {"b": 2, "c": 3}) is None
    assert seen == [1, 2, {"b": 2, "c": 3}, False]


def test_an_input_called_outputs_is_what_its_check_gets() -> None:
    @check("wrong")
    def decide(outputs: str) -> bool:
        return outputs == "given"

    assert (
        Signature.parse("outputs -> b").with_checks(decide).checks[0].failure({"outputs": "given"}, {"b": 1})
        is None
    )


def test_a_value_that_is_missing_is_told() -> None:
    with pytest.raises(SignatureError, match="check is_shorter looks at `article`, which has no value here"):
        Summary.checks[0].failure({}, {"summary": "x"})


def with_positional_only(b: int, /) -> bool:
    return True


def with_self(self: Any, b: int) -> bool:
    return True


def takes_nothing() -> bool:
    return True


def yields(b: int) -> Any:
    yield b


async def yields_slowly(b: int) -> Any:
    yield b


@pytest.mark.parametrize(
    ("function", "message", "hint"),
    [
        (slow, "check slow is async", "a plain function"),
        (staticmethod(slow), "check slow is async", "a plain function"),
        (yields, "check yields yields", "Return True"),
        (yields_slowly, "check yields_slowly yields", "Return True"),
        (takes_nothing, "check takes_nothing takes nothing", "Name the fields"),
        (with_positional_only, "check with_positional_only takes b", "Name each field"),
        (with_self, "check with_self takes self", "Remove it"),
        (type.__init_subclass__, "check __init_subclass__ does not tell its parameters", "Wrap it"),
        (lambda: True, "check wrong takes nothing", "Name the fields"),
        (3, "check('wrong') is put on 3, which is no function", "`def`"),
    ],
)
def test_what_cannot_be_a_check_is_refused(function: Any, message: str, hint: str) -> None:
    with pytest.raises(SignatureError) as error:
        check("wrong")(function)
    assert message in error.value.message
    assert hint in (error.value.hint or "")


@pytest.mark.parametrize("message", ["", "  ", verdict, 3])
def test_a_check_without_a_message_is_refused(message: Any) -> None:
    with pytest.raises(SignatureError, match="a check has no message") as error:
        check(message)
    assert "@check(" in (error.value.hint or "")


def test_a_check_of_what_is_no_field_is_refused_when_the_class_is_made() -> None:
    with pytest.raises(SignatureError, match="Bad: check is_short looks at `sumary`, which is no field") as error:

        class Bad(Summary):
            @check("too long")
            def is_short(sumary: str) -> bool:
                return True

    assert error.value.hint is not None
    assert error.value.hint.startswith(
        "Did you mean `summary`? Its parameters name fields (article, summary, words)"
    )


def test_checks_are_inherited_and_one_of_the_same_name_takes_the_place() -> None:
    class Stricter(Summary):
        @check("much shorter")
        def is_shorter(summary: str) -> bool:
            return len(summary) < 3

        @check("wrong")
        def counts(words: int) -> bool:
            return words > 0

    assert [(each.name, each.message) for each in Stricter.checks] == [
        ("is_shorter", "much shorter"),
        ("is_one_sentence", "better in one sentence"),
        ("counts", "wrong"),
    ]
    assert [each.message for each in Summary.checks] == [SHORT, "better in one sentence"]


def test_a_check_bears_the_name_it_has_in_the_class() -> None:
    class Named(Signature):
        a: str = InputField()
        b: str = OutputField()
        is_good = check("wrong")(with_b)

    assert [each.name for each in Named.checks] == ["is_good"]


def with_b(b: str) -> bool:
    return bool(b)


def test_lambdas_and_partial_functions_are_told_by_their_messages() -> None:
    signature = Signature.parse("a -> b").with_checks(
        check("b is empty")(lambda b: bool(b)), check("b is not a")(partial(lambda b, a: a == b))
    )
    assert [(each.name, each.parameters) for each in signature.checks] == [
        ("b is empty", ("b",)),
        ("b is not a", ("b", "a")),
    ]
    assert [each.failure({"a": "x"}, {"b": ""}) for each in signature.checks] == ["b is empty", "b is not a"]


def test_a_staticmethod_around_a_check_is_collected_too() -> None:
    class Around(Signature):
        a: str = InputField()
        b: str = OutputField()
        is_good = staticmethod(check("wrong")(with_b))

    assert [each.name for each in Around.checks] == ["is_good"]


def test_a_name_that_is_a_field_and_a_check_is_refused() -> None:
    with pytest.raises(SignatureError, match="`b` is declared twice: as output and as check"):

        class Bad(Signature):
            a: str = InputField()
            b: str = OutputField()

            b = check("wrong")(with_b)  # type: ignore[assignment]  # the mistake under test


def test_with_checks_adds_or_replaces_and_without_checks_takes_away() -> None:
    stricter = Summary.with_checks(
        check("much shorter")(Summary.checks[0].function), Check("n", "n", with_b, ("words",))
    )
    assert [(each.name, each.message) for each in stricter.checks] == [
        ("is_shorter", "much shorter"),
        ("is_one_sentence", "better in one sentence"),
        ("n", "n"),
    ]
    assert [each.name for each in stricter.without_checks("is_shorter", "n").checks] == ["is_one_sentence"]
    assert len(Summary.checks) == 2


def test_what_is_no_check_is_refused() -> None:
    with pytest.raises(SignatureError, match="is not a check") as error:
        Summary.with_checks(with_b)  # type: ignore[arg-type]  # the mistake under test
    assert "@check(message)" in (error.value.hint or "")
    with pytest.raises(SignatureError, match="Summary has no check `is_short`") as unknown:
        Summary.without_checks("is_short")
    assert unknown.value.hint == "It has: is_shorter, is_one_sentence."
