"""Whether the modules of a program can hold each other as they do."""

from typing import Any

from repertory.modules import Predict
from repertory.modules.soundness import check_program
from tests.modules.test_module import Holder, Leaf


def test_trees_and_shared_modules_are_sound() -> None:
    shared = Leaf()
    program = Holder(one=shared, two=[shared, {"three": shared}], ask=Predict("a -> b"), data=[[1], {"a": ()}])
    assert check_program(program) == []
    assert check_program(Predict("a -> b")) == []


def test_a_module_that_holds_itself_is_told_with_the_way_back() -> None:
    inner = Holder(ask=Predict("a -> b"))
    program = Holder(steps=[inner])
    vars(inner)["outer"] = {"back": inner}
    (told,) = check_program(program)
    assert told.startswith("steps[0].outer['back'] leads back to steps[0], which holds it: ")


def test_a_program_that_holds_itself() -> None:
    program = Holder(ask=Predict("a -> b"))
    vars(program)["again"] = program
    (told,) = check_program(program)
    assert told.startswith("again leads back to the program, which holds it")


def test_a_fallback_that_leads_back() -> None:
    first: Any = Predict("a -> b")
    second: Any = Predict("a -> b")
    first.supervised(fallback=second.supervised(fallback=first))
    (told,) = check_program(Holder(ask=first))
    assert told.startswith("ask.fallback.fallback leads back to ask, which holds it")


def test_a_list_that_holds_itself_ends() -> None:
    steps: list[Any] = [Predict("a -> b")]
    steps.append(steps)
    assert check_program(Holder(steps=steps))[0].startswith("steps[1] leads back to steps")


def test_two_predictors_of_one_path_are_told() -> None:
    program = Holder(**{"a": Leaf(), "a.ask": Predict("a -> b")})
    (told,) = check_program(program)
    assert told.startswith("a.ask is the path of several predictors")


def test_a_deep_program_is_looked_through() -> None:
    program = Leaf()
    for _ in range(500):
        program = Holder(inner=program)  # type: ignore[assignment]  # any module will do
    assert check_program(program) == []
