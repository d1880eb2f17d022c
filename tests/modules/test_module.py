"""The paths of a program's predictors."""

from typing import Any

from repertory.modules import ChainOfThought, Module, Predict


class Leaf(Module):
    def __init__(self) -> None:
        self.ask = Predict("a -> b")


class Holder(Module):
    def __init__(self, **members: Any) -> None:
        vars(self).update(members)


def test_a_predictor_is_its_own_program() -> None:
    predict = Predict("a -> b")
    assert predict.predictors() == {"self": predict}


def test_nested_modules_lists_tuples_and_dicts() -> None:
    program = Holder(
        facts=ChainOfThought("a -> b"),
        inner=Leaf(),
        steps=[Predict("a -> b"), [Leaf()]],
        pair=(Leaf(), "text"),
        by_name={"x": Predict("a -> b"), 3: Leaf()},
    )
    assert list(program.predictors()) == [
        "facts",
        "inner.ask",
        "steps[0]",
        "steps[1][0].ask",
        "pair[0].ask",
        "by_name['x']",
        "by_name[3].ask",
    ]


def test_what_is_held_twice_counts_once_at_the_first_place() -> None:
    shared, leaf = Predict("a -> b"), Leaf()
    program = Holder(one=shared, two=[shared], left=leaf, right=leaf)
    assert program.predictors() == {"one": shared, "left.ask": leaf.ask}


def test_equal_predictors_are_two() -> None:
    assert list(Holder(one=Predict("a -> b"), two=Predict("a -> b")).predictors()) == ["one", "two"]


def test_a_circle_ends() -> None:
    program = Holder(ask=Predict("a -> b"))
    vars(program)["again"] = Holder(back=program, many=[program])
    assert list(program.predictors()) == ["ask"]


def test_a_program_may_hold_none() -> None:
    assert Holder(name="x", numbers=[1, 2]).predictors() == {}
