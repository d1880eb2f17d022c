"""Operations on signatures, checks, and the cache of compiled forms."""

import gc
import threading
import weakref
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from repertory.errors import ConfigError, SignatureError
from repertory.signatures import (
    InputField,
    OutputField,
    Signature,
    check,
    compile_cache_stats,
    compile_signature,
)
from repertory.signatures.cache import BoundedCache

ANSWER = Signature.parse("question, context: list[str] -> answer, score: float")


def names(signature: type[Signature]) -> list[str]:
    return [field.name for field in (*signature.inputs, *signature.outputs)]


def test_fields_are_put_on_their_side_and_the_original_stays() -> None:
    assert names(ANSWER.prepend("id", InputField(), int)) == ["id", "question", "context", "answer", "score"]
    assert names(ANSWER.append("why", OutputField())) == ["question", "context", "answer", "score", "why"]
    assert names(ANSWER.insert(1, "why", OutputField())) == ["question", "context", "answer", "why", "score"]
    assert names(ANSWER.insert(-1, "id", InputField())) == ["question", "id", "context", "answer", "score"]
    assert names(ANSWER.delete("context", "score")) == ["question", "answer"]
    assert names(ANSWER) == ["question", "context", "answer", "score"]


def test_with_fields_exchanges_in_place_and_adds_at_the_end() -> None:
    other = ANSWER.with_fields(answer=OutputField(desc="one word"), score=int, why=(str, OutputField()))
    assert str(other) == "question: str, context: list[str] -> answer: str, score: int, why: str"
    assert other.outputs[0].mark.desc == "one word"


@pytest.mark.parametrize(
    ("operation", "says"),
    [
        (lambda: ANSWER.append("answer", OutputField()), "already has a field `answer`"),
        (lambda: ANSWER.append("class", OutputField()), "`class` cannot name a field"),
        (lambda: ANSWER.append("more", "text"), "`more` is given 'text' for a field"),
        (lambda: ANSWER.delete("anser"), "Did you mean `answer`"),
        (lambda: ANSWER.delete("answer", "score"), "has no output"),
        (lambda: ANSWER.with_fields(more=int), "has no field `more` to take the rest from"),
        (lambda: ANSWER.with_fields(answer=InputField()), "is an output and cannot become an input"),
        (lambda: ANSWER.with_checks(check("wrong")(lambda other: True)), "looks at `other`, which is no field"),
    ],
)
def test_what_makes_no_signature_is_refused(operation: Any, says: str) -> None:
    with pytest.raises(SignatureError, match=says.replace("(", "\\(")):
        operation()


def test_signatures_are_equal_by_content_and_order() -> None:
    assert ANSWER.append("why", OutputField()).delete("why").equals(ANSWER)
    assert not ANSWER.with_instructions("Be brief.").equals(ANSWER)
    assert not Signature.parse("a -> b: int | str").equals(Signature.parse("a -> b: str | int"))
    assert not Signature.parse("a -> b: Literal[1]").equals(Signature.parse("a -> b: Literal[True]"))
    assert not Signature.parse("a: int = 1 -> b").equals(Signature.parse("a: int = True -> b"))

    def bounded(most: int) -> type[Signature]:
        return Signature.parse("a -> b").with_fields(b=Annotated[int, Field(le=most)])

    assert bounded(3).equals(bounded(3))
    assert not bounded(3).equals(bounded(4))


class Short(Signature):
    """Say it briefly."""

    text: str = InputField()
    brief: str = OutputField()
    words: int = OutputField()

    @check("must be shorter than the text")
    def is_shorter(brief: str, text: str) -> bool:  # a check has no self
        return len(brief) < len(text)

    @check("the words are miscounted")
    def is_counted(outputs: Mapping[str, Any]) -> str | None:
        counted = len(outputs["brief"].split())
        return None if counted == outputs["words"] else f"there are {counted} words"


def failures(signature: type[Signature], brief: str, words: int) -> list[str | None]:
    outputs = {"brief": brief, "words": words}
    return [each.failure({"text": "Some words"}, outputs) for each in signature.checks]


def test_checks_look_at_the_fields_their_parameters_name() -> None:
    assert failures(Short, "Words", 1) == [None, None]
    assert failures(Short, "Too many words", 2) == ["must be shorter than the text", "there are 3 words"]


def test_checks_are_inherited_and_one_of_the_same_name_takes_the_place() -> None:
    class Lenient(Short):
        @check("must not be twice as long")
        def is_shorter(brief: str, text: str) -> bool:
            return len(brief) < 2 * len(text)

    assert [each.message for each in Lenient.checks] == ["must not be twice as long", "the words are miscounted"]
    assert failures(Lenient, "Too many words", 3) == [None, None]
    assert not Lenient.equals(Short)


def test_a_check_may_raise_value_error_but_not_fail_itself() -> None:
    @check("no number")
    def is_number(b: str) -> bool:
        return int(b) > 0

    @check("too long")
    def is_short(b: str) -> bool:
        return b.missing  # type: ignore[attr-defined, no-any-return]  # the defect under test

    assert "no number: invalid literal" in (is_number.failure({}, {"b": "x"}) or "")
    with pytest.raises(SignatureError, match="check is_short failed itself: AttributeError"):
        is_short.failure({}, {"b": "x"})


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: check(" "), "has no message"),
        (lambda: check("m")(lambda: True), "takes nothing"),
        (lambda: check("m")(lambda *fields: True), "takes \\*fields"),
    ],
)
def test_what_can_be_no_check_is_refused(make: Any, says: str) -> None:
    with pytest.raises(SignatureError, match=says):
        make()


def test_a_field_that_a_check_looks_at_cannot_be_deleted() -> None:
    with pytest.raises(SignatureError, match="check is_shorter looks at `brief`"):
        Short.delete("brief")


def test_equal_signatures_share_one_compiled_form() -> None:
    text = "unusual_question -> unusual_answer: Literal['yes', 'no']"
    before = compile_cache_stats()
    compiled = compile_signature(Signature.parse(text))
    again = compile_signature(Signature.parse("x_y -> z").delete().append("more", OutputField()).delete("more"))
    assert again is compile_signature(Signature.parse("x_y -> z"))
    assert compile_signature(Signature.parse(text)) is compiled
    after = compile_cache_stats()
    assert (after.misses - before.misses, after.hits - before.hits) == (2, 2)


def test_two_names_do_not_share_one_form() -> None:
    class Other(Short):
        """Say it briefly."""

    assert Other.equals(Short)
    assert compile_signature(Other).name == "Other"
    assert compile_signature(Short).name == "Short"


class Value:
    """Something a weak reference can point to."""


def test_the_cache_forgets_what_was_used_longest_ago_and_keeps_nothing_of_it() -> None:
    cache = BoundedCache[str, Value](limit=2)
    first = weakref.ref(cache.get("a", Value))
    cache.get("b", Value)
    cache.get("a", Value)
    cache.get("c", Value)  # b goes
    assert first() is cache.get("a", Value)
    cache.get("b", Value)  # c goes
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.evictions, stats.size, stats.limit) == (2, 4, 2, 2, 2)
    assert stats.hit_rate == pytest.approx(1 / 3)
    cache.get("d", Value)
    cache.get("e", Value)
    gc.collect()
    assert first() is None


def test_one_thread_makes_what_many_ask_for_and_other_keys_do_not_wait() -> None:
    cache = BoundedCache[str, object](limit=10)
    begun, finish = threading.Event(), threading.Event()
    made: list[object] = []

    def slow() -> object:
        begun.set()
        assert finish.wait(30)
        made.append(object())
        return made[-1]

    got: list[object] = []
    threads = [threading.Thread(target=lambda: got.append(cache.get("slow", slow))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert begun.wait(30)
    assert cache.get("other", lambda: 1) == 1  # while the slow one is still being made
    finish.set()
    for thread in threads:
        thread.join(30)
    assert got == made * 4
    assert len(made) == 1


def test_what_could_not_be_made_is_not_remembered() -> None:
    cache = BoundedCache[str, int](limit=1)
    with pytest.raises(ZeroDivisionError):
        cache.get("a", lambda: 1 // 0)
    assert cache.get("a", lambda: 7) == 7
    with pytest.raises(ConfigError, match="cache limit = 0"):
        BoundedCache[str, int](limit=0)


def test_types_of_one_name_do_not_share_a_form() -> None:
    def made(*choices: str) -> type[Signature]:
        kind: Any = Literal
        return Signature.parse("a -> b: Kind", types={"Kind": kind[choices]})

    assert compile_signature(made("x")) is not compile_signature(made("y"))
    assert compile_signature(made("x")) is compile_signature(made("x"))
