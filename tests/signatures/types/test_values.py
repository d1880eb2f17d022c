"""Shares, labels, reasoning, embeddings, usage, documents, code: validated, coerced and rated."""

import json
import math
import subprocess
import sys
from decimal import Decimal
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import repertory as rp
from repertory.errors import SignatureError
from repertory.signatures.type_registry import TYPES
from tests.signatures.types.reading import both_forms, read, refusal

# Their arguments are values, which mypy takes for types.
LABEL: Any = rp.Label
EMBEDDING: Any = rp.Embedding
CODE: Any = rp.Code
STEP = rp.ReasoningStep(thought="Look.")


@pytest.mark.parametrize(
    ("text", "annotation"),
    [
        ("Confidence", rp.Confidence),
        ("list[Similarity] | None", list[rp.Similarity] | None),
        ("Label", rp.Label),
        ("Label['spam', 'ham']", LABEL["spam", "ham"]),
        ("ReasoningChain", rp.ReasoningChain),
        ("Reasoning", rp.Reasoning),
        ("Embedding[3]", EMBEDDING[3]),
        ("TokenUsage", rp.TokenUsage),
        ("list[Document]", list[rp.Document]),
        ("Citation", rp.Citation),
        ("Code['python']", CODE["python"]),
        ("Code", rp.Code),
        ("Image", rp.Image),
        ("list[ToolCall]", list[rp.ToolCall]),
    ],
)
def test_the_string_form_and_the_class_form_are_the_same(text: str, annotation: Any) -> None:
    both_forms(text, annotation)


class Checked(rp.Signature):
    """Do it."""

    question: str = rp.InputField()
    label: rp.Label[Literal["spam", "ham"]] = rp.OutputField()
    code: rp.Code[Literal["python"]] = rp.OutputField()
    vector: rp.Embedding[Literal[3]] = rp.OutputField()
    any_label: rp.Label = rp.OutputField()


def test_arguments_as_type_checkers_want_them() -> None:
    text = "question -> label: Label['spam', 'ham'], code: Code['python'], vector: Embedding[3], any_label: Label"
    assert Checked.equals(rp.Signature.parse(text, "Do it."))


@pytest.mark.parametrize(
    ("kind", "reply", "value", "told"),
    [
        ("Confidence", "0.87", 0.87, []),
        ("Confidence", "1", 1.0, []),
        ("Confidence", '"87%"', 0.87, ["'87%' as 0.87"]),
        ("Score", '"8/10"', 0.8, ["'8/10' as 0.8"]),
        ("Score", '"9 out of 10"', 0.9, ["'9 out of 10' as 0.9"]),
        ("Probability", "87", 0.87, ["87 as 0.87, a percentage"]),
        ("Confidence", '"High."', 0.8, ["'High.' as 0.8, by a table of words"]),
        ("Confidence", "1.01", 1.0, ["1.01 as 1.0"]),
        ("Similarity", "-1.02", -1.0, ["-1.02 as -1.0"]),
        ("Similarity", '"-0.5"', -0.5, ["'-0.5' as -0.5"]),
    ],
)
def test_numbers_on_a_scale(kind: str, reply: str, value: float, told: list[str]) -> None:
    assert read(kind, reply) == (value, told)


@pytest.mark.parametrize(
    ("reply", "value", "told"),
    [
        ('"1234567890123456789.10"', "1234567890123456789.10", []),
        ('"$1,234.50"', "1234.50", ["'$1,234.50' as 1234.50"]),
        ('"1,234 "', "1234", ["'1,234 ' as 1234"]),
        ("12.5", "12.5", []),
    ],
)
@pytest.mark.parametrize("kind", ["Decimal", "Decimal | None", "Annotated[Decimal, Field(ge=0)]"])
def test_decimals_digit_for_digit(kind: str, reply: str, value: str, told: list[str]) -> None:
    assert read(kind, reply) == (Decimal(value), told)
    assert refusal(kind, '"about 3"')


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        ("Confidence", "8"),  # out of ten, or percent
        ("Confidence", "-0.2"),
        ("Confidence", "101"),
        ("Confidence", '"high, or low"'),
        ("Confidence", "null"),
        ("Confidence", str(10**400)),
        ("Similarity", str(-(10**400))),
        ("Label", f'{{"a": {10**400}, "b": 1}}'),
        ("Similarity", "1.2"),
        ("Score", '"5/0"'),
    ],
)
def test_numbers_off_the_scale_are_refused(kind: str, reply: str) -> None:
    assert refusal(kind, reply)


@pytest.mark.parametrize(
    ("reply", "name", "distribution", "told"),
    [
        ('{"name": "spam", "distribution": {}}', "spam", {}, []),
        ('"spam"', "spam", {}, ["'spam' as a label"]),
        (
            '{"spam": 0.75, "ham": 0.25}',
            "spam",
            {"spam": 0.75, "ham": 0.25},
            ["a bare distribution as the label 'spam'"],
        ),
        (
            '{"name": "ham", "distribution": {"spam": 75, "ham": 25}}',
            "spam",
            {"spam": 0.75, "ham": 0.25},
            ["'ham' as 'spam', the likeliest; weights that sum to 100 as shares of 1"],
        ),
    ],
)
def test_labels(reply: str, name: str, distribution: dict[str, float], told: list[str]) -> None:
    assert read("Label['spam', 'ham']", reply) == (rp.Label(name=name, distribution=distribution), told)


def test_labels_are_the_names_given_and_consistent() -> None:
    assert "'eggs' is none of spam, ham" in refusal("Label['spam', 'ham']", '"eggs"')
    assert refusal("Label", '{"name": "a", "distribution": {"a": 0.2, "b": 0.3}}')
    with pytest.raises(ValueError, match=r"sums to 0\.5, not to 1"):
        rp.Label(name="a", distribution={"a": 0.5})
    with pytest.raises(ValueError, match="'b' is not the likeliest"):
        rp.Label(name="b", distribution={"a": 0.6, "b": 0.4})
    with pytest.raises(SignatureError, match="each once"):
        LABEL["a", "a"]
    schema = rp.Signature.parse("q -> value: Label['a', 'b']").to_json()
    assert schema["fields"][1]["type"] == "Label['a', 'b']"
    assert rp.Label(name="a", distribution={"a": 0.7, "b": 0.3}).probability == 0.7


def test_chains_of_reasoning() -> None:
    chain, told = read("ReasoningChain", json.dumps("1. First\n2) Then\nStep 3: Last"))
    assert [step.thought for step in chain.steps] == ["First", "Then", "Last"]
    assert told == ["a text as 3 steps"]
    text = "Thought: look\nAction: search(cats)\nObservation: many\nThought: done"
    chain, _ = read("ReasoningChain", json.dumps(text))
    assert [(step.thought, step.action, step.observation) for step in chain.steps] == [
        ("look", "search(cats)", "many"),
        ("done", None, None),
    ]
    chain, told = read("ReasoningChain", '["one", "two"]')
    assert told == ["a list of 2 as the steps", "a text as a thought", "a text as a thought"]
    assert str(chain) == "1. one\n2. two"
    assert "at least 1" in refusal("ReasoningChain", '{"steps": []}')
    assert "at most 50" in refusal("ReasoningChain", json.dumps(["x"] * 51))
    assert read("Reasoning", '["a", "b"]') == ("a\nb", ["a list of 2 texts as lines"])
    assert refusal("Reasoning", '""')


def test_what_is_no_labels_own_is_not_dropped() -> None:
    assert refusal("Label", '{"name": "a", "distribution": {"a": 60, "b": 40}, "why": "x"}')


def test_embeddings() -> None:
    value, told = read("Embedding[3]", '{"embedding": [3, 0, 4.0]}')
    assert (value, told) == (rp.Embedding([3, 0, 4]), ["what is in `embedding`"])
    assert (len(value), value[2], list(value), value.norm) == (3, 4.0, [3.0, 0.0, 4.0], 5.0)
    assert hash(value) == hash(rp.Embedding([3, 0, 4]))
    assert value.cosine(rp.Embedding([-3, 0, -4])) == -1
    assert value.cosine(rp.Embedding([0, 1e200, 0])) == 0
    assert rp.Embedding([1e300, 1e300]).cosine(rp.Embedding([1e-300, 1e-300])) == pytest.approx(1)
    with pytest.raises(ValueError, match="3 and 1 dimensions"):
        value.cosine(rp.Embedding([1]))
    assert "2 dimensions, where 3 are wanted" in refusal("Embedding[3]", "[1, 2]")
    assert "all dimensions are zero" in refusal("Embedding", "[0, 0]")
    assert refusal("Embedding", "[]")
    assert refusal("Embedding", "[1e999]")
    assert refusal("Embedding", json.dumps([1] * 10_001))
    assert len(rp.Embedding([1] * 10_000)) == 10_000
    with pytest.raises(ValueError, match="dimension 1 is nan"):
        rp.Embedding([1, math.nan])
    with pytest.raises(SignatureError, match="number of dimensions"):
        EMBEDDING["3"]


def test_an_embedding_is_seen_by_numpy_and_not_changed() -> None:
    pytest.importorskip("numpy", reason="numpy is not installed: pip install numpy")
    embedding = rp.Embedding([1, 2])
    view = embedding.numpy()
    assert view.tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 5


def test_token_usage() -> None:
    value, told = read("TokenUsage", '{"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}')
    assert value == rp.TokenUsage(input_tokens=5, output_tokens=2)
    assert told == ["a provider's counts, prompt_tokens, completion_tokens; past 'total_tokens'"]
    assert refusal("TokenUsage", '{"prompt_tokens": 5, "input_tokens": 6}')
    assert (value + value).total == 14
    assert refusal("TokenUsage", '{"input_tokens": -1}')
    assert refusal("TokenUsage", '{"cost": 1}')


def test_documents_and_citations() -> None:
    document, told = read("Document", '"Cats are  mammals."')
    assert told == ["a text as a document"]
    citation, told = read("Citation", '"“cats are mammals”"')
    assert (citation.quote, len(told)) == ("cats are mammals", 1)
    located = citation.located(document)
    assert (located.start, located.end) == (0, 17)
    assert document.text[located.start : located.end] == "Cats are  mammals"
    assert rp.Citation(quote="dogs").located(document) is None
    assert read("Citation", '{"quote": "x", "document": 2}')[0].document == "2"
    assert "not after" in refusal("Citation", '{"quote": "x", "start": 3, "end": 3}')


@pytest.mark.parametrize(
    ("reply", "source", "told"),
    [
        ("print(1)", "print(1)", []),
        ("```python\nprint(1)\n```", "print(1)", ["the code in the fence"]),
        ("Here:\n  ```py\n  if x:\n      y\n  ```\nDone", "if x:\n    y", ["the code in the fence"]),
        ("```\na\n```\n```\nb\n```", "a", ["the first of 2 code blocks"]),
    ],
)
def test_code(reply: str, source: str, told: list[str]) -> None:
    value, changes = read("Code['python']", json.dumps(reply))
    assert (value, value.language, changes) == (source, "python", told)


def test_code_in_a_fence_that_is_not_closed_is_refused() -> None:
    assert "Markdown fence" in refusal("Code", json.dumps("```\nprint("))
    assert read("Code['markdown']", json.dumps("```\nx"))[0] == "```\nx"
    with pytest.raises(SignatureError, match="name of a language"):
        CODE[""]


@pytest.mark.parametrize(
    ("name", "value", "quality"),
    [
        ("Confidence", 0.9, 1.0),
        ("Confidence", 1.0, 0.5),
        ("Score", 0.5, None),
        ("Label", rp.Label(name="a", distribution={"a": 0.75, "b": 0.25}), 0.5),
        ("ReasoningChain", rp.ReasoningChain(steps=(STEP, STEP)), 0.5),
        ("Embedding", rp.Embedding([0, 1]), 0.5),
        ("Citation", rp.Citation(quote="ten chars."), 0.5),
        ("Code", rp.Code("x = (", "python"), 0.2),
        ("Code", rp.Code("x = 1", "python"), 1.0),
        ("Code", rp.Code("f(x", "c"), 0.4),
        ("Code", rp.Code("f(x)", "c"), 0.8),
        ("Code", rp.Code(" ", "c"), 0.0),
    ],
)
def test_quality(name: str, value: object, quality: float | None) -> None:
    assert TYPES.quality(name, value) == quality


def test_a_type_of_ones_own_and_another_scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TYPES, "_types", dict(TYPES._types))

    def from_words(value: object) -> tuple[object, str]:
        if value == "a dozen":
            return 12, "'a dozen' as 12"
        raise ValueError("no count")

    rp.register_type("Count", int, coerce=from_words, quality=lambda count: 2)
    assert read("list[Count]", '[3, "a dozen"]') == ([3, 12], ["'a dozen' as 12"])
    with pytest.raises(SignatureError, match="the scorer of `Count` returned 2"):
        TYPES.quality("Count", 3)
    with pytest.raises(SignatureError, match="there is a type `Count` already"):
        rp.register_type("Count", int)
    rp.register_type("Score", rp.Score, quality=lambda score: score, replace=True)
    assert TYPES.quality("Score", 0.25) == 0.25
    with pytest.raises(SignatureError, match="there is no type `Nope`"):
        TYPES.quality("Nope", 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
WORDS = st.sampled_from(
    ["name", "distribution", "steps", "thought", "embedding", "quote", "code", "arguments", "function"]
)


HUGE = 10**400
"""A whole number that is valid JSON and no float."""


@example(value=HUGE)
@example(value={"a": HUGE, "b": 1})
@example(value={"name": "a", "distribution": {"a": HUGE}})
@example(value=float("inf"))
@example(value=float("nan"))
@given(value=JSON | st.dictionaries(WORDS, JSON, max_size=4))
def test_coercers_return_or_raise_value_error(value: object) -> None:
    for name, coerce in TYPES.coercers().items():
        try:
            made, reason = coerce(value)
        except ValueError:
            continue
        assert isinstance(reason, str), name
        assert reason or repr(made) == repr(value), name


def test_types_without_numpy_need_no_numpy() -> None:
    script = (
        "import sys; sys.modules['numpy'] = None\n"
        "import repertory as rp\n"
        "try: rp.Embedding([1]).numpy()\n"
        "except rp.RepertoryError as error: print(error)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "numpy is not installed" in ended.stdout
    assert "pip install numpy" in ended.stdout
