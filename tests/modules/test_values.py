"""Examples and predictions as values."""

import copy
import json

import pytest
from pydantic import ValidationError

from repertory.modules import Example, Parameters, Prediction
from repertory.providers.messages import Usage


def test_an_example_is_a_mapping_with_attributes() -> None:
    example = Example(text="Shares fell", topic="business")
    assert (example.topic, example["text"], len(example), list(example)) == (
        "business",
        "Shares fell",
        2,
        ["text", "topic"],
    )
    assert dict(example) == {"text": "Shares fell", "topic": "business"}
    assert example == {"text": "Shares fell", "topic": "business"}
    assert repr(example) == "Example(text='Shares fell', topic='business')"


def test_replacing_leaves_the_original() -> None:
    example = Example(a=1)
    assert (example.replace(a=2, b=3), example) == (Example(a=2, b=3), Example(a=1))


@pytest.mark.parametrize("value", [Example(a=1, b=2), Prediction(a=1, b=2)])
def test_what_is_missing_is_told_with_what_there_is(value: Example | Prediction) -> None:
    with pytest.raises(AttributeError, match="has no 'c'; it has a, b"):
        _ = value.c
    with pytest.raises(KeyError):
        value["c"]
    assert not hasattr(value, "_private")
    assert value.get("c") is None


@pytest.mark.parametrize("value", [Example(a=[1]), Prediction(a=[1], lm_calls=2)])
def test_copies_are_equal_and_deep_copies_are_apart(value: Example | Prediction) -> None:
    assert copy.copy(value) == value
    deep = copy.deepcopy(value)
    assert deep == value
    assert deep["a"] is not value["a"]


def test_a_prediction_knows_what_it_cost() -> None:
    prediction = Prediction({"a": 1}, b=2, usage=Usage(3, 4), lm_calls=5, parameters_version=6)
    assert prediction.outputs == {"a": 1, "b": 2}
    assert (prediction.usage, prediction.lm_calls, prediction.parameters_version) == (Usage(3, 4), 5, 6)
    assert repr(prediction) == "Prediction(a=1, b=2)"
    assert json.dumps(dict(prediction)) == '{"a": 1, "b": 2}'


def test_outputs_are_a_dict_of_their_own() -> None:
    prediction = Prediction(a=1)
    prediction.outputs["a"] = 2
    assert prediction.a == 1


def test_parameters_refuse_nonsense_and_change() -> None:
    for wrong in ({"temperature": -1}, {"max_tokens": 0}, {"instruction": "typo"}):
        with pytest.raises(ValidationError):
            Parameters(**wrong)
    with pytest.raises(ValidationError, match="frozen"):
        Parameters().lm = "other"  # type: ignore[misc]  # that it is refused is the point
