"""Operations: each makes another signature of one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from repertory.errors import SignatureError
from repertory.signatures import InputField, OutputField, Signature, check, compile_signature


class Answer(Signature):
    """Answer from the context."""

    question: str = InputField(desc="what is asked")
    answer: str = OutputField()
    context: list[str] = InputField(default=[])
    score: float = OutputField(ge=0, le=1)

    @check("too long")
    def is_short(answer: str, question: str) -> bool:
        return len(answer) < len(question)


TEXT = "question: str, context: list[str] = [] -> answer: str, score: float"


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (Answer.prepend("why", OutputField()), "question, context: list[str] = [] -> why, answer, score: float"),
        (
            Answer.prepend("hint", InputField(), int),
            "hint: int, question, context: list[str] = [] -> answer, score: float",
        ),
        (
            Answer.append("why", OutputField(), list[str]),
            "question, context: list[str] = [] -> answer, score: float, why: list[str]",
        ),
        (Answer.append("hint", InputField()), "question, context: list[str] = [], hint -> answer, score: float"),
        (Answer.insert(1, "why", OutputField()), "question, context: list[str] = [] -> answer, why, score: float"),
        (
            Answer.insert(-1, "why", OutputField()),
            "question, context: list[str] = [] -> answer, why, score: float",
        ),
        (
            Answer.insert(-9, "why", OutputField()),
            "question, context: list[str] = [] -> why, answer, score: float",
        ),
        (Answer.insert(9, "why", OutputField()), "question, context: list[str] = [] -> answer, score: float, why"),
        (
            Answer.append("why", OutputField(), None),
            "question, context: list[str] = [] -> answer, score: float, why: None",
        ),
        (Answer.delete("score", "context"), "question -> answer"),
        (Answer.delete(), "question, context: list[str] = [] -> answer, score: float"),
        (Answer.with_fields(answer=int), "question, context: list[str] = [] -> answer: int, score: float"),
        (Answer.with_fields(context=InputField()), "question, context: list[str] -> answer, score: float"),
        (
            Answer.with_fields(why=OutputField(), n=(int, InputField())),
            "question, context: list[str] = [], n: int -> answer, score: float, why",
        ),
        (
            Answer.with_fields(answer=(int | None, OutputField())),
            "question, context: list[str] = [] -> answer: int | None, score: float",
        ),
    ],
)
def test_an_operation_gives_another_signature(made: type[Signature], text: str) -> None:
    assert str(made) == str(Signature.parse(text))
    assert (made.__name__, made.__module__, made.instructions) == ("Answer", __name__, "Answer from the context.")
    assert [each.name for each in made.checks] == ["is_short"]
    assert str(Answer) == TEXT


def test_what_with_fields_does_not_say_stays() -> None:
    made = Answer.with_fields(question=list[str], score=OutputField(desc="how sure"))
    question, score = made.inputs[0], made.outputs[1]
    assert (question.annotation, question.mark.desc) == (list[str], "what is asked")
    assert (score.annotation, score.mark.desc, dict(score.mark.constraints)) == (float, "how sure", {})


def test_generated_instructions_follow_the_fields() -> None:
    assert Signature.parse("a -> b").append("c", OutputField()).instructions == "Given `a`, produce `b` and `c`."


def test_a_field_may_be_called_cls_or_self() -> None:
    assert str(Signature.parse("a -> b").with_fields(cls=OutputField(), self=InputField())) == (
        "a: str, self: str -> b: str, cls: str"
    )


@pytest.mark.parametrize(
    ("operation", "message", "hint"),
    [
        (
            lambda: Answer.append("answer", OutputField()),
            "Answer already has a field `answer`",
            "with_fields(answer=...)",
        ),
        (lambda: Answer.append("demos", InputField()), "`demos` cannot name an input", "given_demos"),
        (lambda: Answer.append("why", str), "`why` is given <class 'str'> for a field", "OutputField(...)"),
        (
            lambda: Answer.append("why", OutputField(), "list[str]"),
            "`why` is given 'list[str]' for a type",
            "Write a type",
        ),
        (lambda: Answer.append("why", OutputField(), 3), "`why` is given 3 for a type", "Write a type"),
        (lambda: Answer.delete("scor"), "Answer has no field `scor`", "Did you mean `score`?"),
        (lambda: Answer.delete("zzz"), "Answer has no field `zzz`", "It has: question, answer, context, score."),
        (
            lambda: Answer.without_checks("is_short").delete("answer", "score"),
            "Answer without `answer`, `score` has no output",
            "Append another output",
        ),
        (
            lambda: Answer.delete("question"),
            "Answer: check is_short looks at `question`",
            'without_checks("is_short")',
        ),
        (lambda: Answer.with_fields(why=str), "Answer has no field `why` to take the rest from", "OutputField()"),
        (lambda: Answer.with_fields(answer="str"), "`answer` is given 'str' for a type", "Write a type"),
        (
            lambda: Answer.with_fields(answer=InputField()),
            "Answer.answer is an output and cannot become an input",
            "Delete it",
        ),
        (lambda: Answer.with_fields(keys=OutputField()), "`keys` cannot name an output", "the_keys"),
        (lambda: Answer.with_instructions(None), "instructions are text, got NoneType", "in words"),  # type: ignore[arg-type]  # the mistake
        (lambda: Signature.parse("a -> b", 3), "instructions are text, got int", "in words"),  # type: ignore[arg-type]  # the mistake
    ],
)
def test_what_cannot_be_done_is_refused_with_a_remedy(operation: Any, message: str, hint: str) -> None:
    with pytest.raises(SignatureError) as error:
        operation()
    assert message in error.value.message
    assert hint in (error.value.hint or "")


def test_deleting_a_field_that_no_check_looks_at_keeps_the_checks() -> None:
    assert [each.name for each in Answer.delete("score").checks] == ["is_short"]


@pytest.mark.parametrize("name", ["_fields", "_key", "__doc__", "anything"])
def test_a_signature_cannot_be_changed(name: str) -> None:
    with pytest.raises(SignatureError, match=f"Answer.{name} cannot be set: a signature does not change") as error:
        setattr(Answer, name, "x")
    assert "with_instructions" in (error.value.hint or "")
    with pytest.raises(SignatureError, match=f"Answer.{name} cannot be removed"):
        delattr(Answer, name)


def test_signatures_are_keys_by_identity() -> None:
    twin = Answer.with_instructions(Answer.instructions)
    assert twin.equals(Answer)
    assert len({Answer, twin}) == 2


A = Signature.parse("a: int, b -> c: float", "Do.")


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        (Signature.parse(" a:int,b->c:float ", "Do."), True),
        (A.append("d", OutputField()).delete("d"), True),
        (A.with_fields(a=InputField()), True),
        (A.with_instructions("Do it."), False),
        (Signature.parse("a: int, b -> c: float"), False),
        (Signature.parse("b, a: int -> c: float", "Do."), False),
        (A.with_fields(a=InputField(desc="x")), False),
        (A.with_fields(a=InputField(ge=1)), False),
        (A.with_fields(a=InputField(default=1)), False),
        (A.with_fields(a=InputField(examples=[1])), False),
        (A.with_fields(a=bool), False),
        (A.append("d", OutputField()), False),
        (A.with_checks(Answer.checks[0].__class__("n", "n", bool, ("a",))), False),
        ("a: int, b -> c: float", False),
        (None, False),
    ],
)
def test_equals_compares_all_but_the_name(other: Any, equal: bool) -> None:
    assert A.equals(other) is equal


def test_equals_tells_apart_what_python_calls_equal() -> None:
    def of(default: object) -> type[Signature]:
        return A.with_fields(b=(Any, InputField(default=default)))

    for one, other in (
        (1, True),
        (1, 1.0),
        ([1], [True]),
        ({"a": 0.0}, {"a": -0.0}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ):
        assert not of(one).equals(of(other))
        assert of(one).equals(of(one))
    assert not A.with_fields(a=int | str).equals(A.with_fields(a=str | int))


def test_what_a_default_was_made_of_may_change_without_the_signature() -> None:
    given, examples = {"a": [1]}, [[2]]
    made = A.with_fields(b=(dict[str, list[int]], InputField(default=given, examples=[examples])))
    given["a"].append(2)
    examples[0].append(3)
    assert (made.inputs[1].mark.default, made.inputs[1].mark.examples) == ({"a": [1]}, ([[2]],))


@given(st.lists(st.tuples(st.integers(-4, 4), st.sampled_from(["input", "output"])), max_size=8))
def test_inserting_agrees_with_list_insert_on_each_side(steps: list[tuple[int, str]]) -> None:
    signature = Signature.parse("first -> last")
    sides = {"input": ["first"], "output": ["last"]}
    for number, (index, role) in enumerate(steps):
        mark = InputField() if role == "input" else OutputField()
        signature = signature.insert(index, f"f{number}", mark)
        sides[role].insert(index, f"f{number}")
    assert [field.name for field in signature.inputs] == sides["input"]
    assert [field.name for field in signature.outputs] == sides["output"]
    added = [f"f{number}" for number in range(len(steps))]
    assert signature.delete(*added).equals(Signature.parse("first -> last"))


def test_an_operation_s_result_compiles() -> None:
    compiled = compile_signature(Answer.prepend("why", OutputField(desc="step by step")))
    assert [spec.name for spec in compiled.outputs] == ["why", "answer", "score"]
    assert [each.name for each in compiled.checks] == ["is_short"]
