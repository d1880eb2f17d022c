from random import Random

from repertory.providers.limits.slowness import REMEMBERED, ROW, WARM_UP, Slowness


def used_to(seconds: float, tokens: int, answers: int = WARM_UP) -> Slowness:
    slowness = Slowness()
    for _ in range(answers):
        assert not slowness.note(seconds, tokens)
    return slowness


def test_a_row_of_slow_answers_is_a_sign() -> None:
    slowness = used_to(2, 500)
    assert [slowness.note(10, 500) for _ in range(ROW)] == [False] * (ROW - 1) + [True]


def test_one_answer_in_time_breaks_the_row() -> None:
    slowness = used_to(2, 500)
    for _ in range(5):
        assert not any(slowness.note(10, 500) for _ in range(ROW - 1))
        assert not slowness.note(2, 500)


def test_longer_answers_take_longer_and_are_no_sign() -> None:
    slowness = used_to(2, 500)
    assert not any(slowness.note(40, 10_000) for _ in range(200))


def test_shorter_answers_take_longer_a_token_and_are_no_sign() -> None:
    slowness = used_to(20, 10_000)
    assert not any(slowness.note(3, 100) for _ in range(200))


def test_fast_answers_are_never_slow_however_much_faster_the_others_were() -> None:
    slowness = used_to(0.001, 10)
    assert not any(slowness.note(1.9, 10) for _ in range(200))


def test_nothing_is_slow_before_there_is_a_rule() -> None:
    slowness = used_to(1, 500, answers=WARM_UP - ROW)
    assert not any(slowness.note(10, 500) for _ in range(ROW))


def test_what_lasts_becomes_the_rule() -> None:
    slowness = used_to(2, 500, answers=REMEMBERED)
    signs = [slowness.note(10, 500) for _ in range(1000)]
    assert any(signs)
    assert not any(signs[REMEMBERED // 2 :])


def test_a_new_load_is_judged_from_its_own_beginning() -> None:
    slowness = used_to(2, 500)
    for _ in range(ROW - 1):
        slowness.note(10, 500)
    slowness.restart()
    assert not slowness.note(10, 500)


def test_answers_of_very_different_lengths_are_no_sign() -> None:
    rng = Random(5)
    slowness = Slowness()
    for _ in range(20_000):
        tokens = int(rng.lognormvariate(6, 1.2)) + 1
        seconds = (0.4 + tokens / 60) * rng.lognormvariate(0, 0.4)
        assert not slowness.note(seconds, tokens)
