"""The ids of runs."""

from hypothesis import given
from hypothesis import strategies as st

from repertory.runtime.run_ids import RunKeys, run_id
from repertory.testing import FakeClock


def test_a_run_has_one_id_however_often_it_is_asked_for() -> None:
    assert run_id("qa", "k") == run_id("qa", "k")
    assert len({run_id(program, key) for program in ("qa", "news") for key in ("k", "l", "")}) == 6


@given(key=st.text())
def test_an_id_is_of_32_hexadecimal_digits_whatever_the_key(key: str) -> None:
    id = run_id("qa", key.encode(errors="replace").decode())
    assert len(id) == 32
    assert int(id, 16) >= 0


def test_the_ids_of_made_keys_are_in_the_order_of_time_and_those_of_two_programs_differ() -> None:
    clock = FakeClock()
    keys, made = RunKeys(clock), []
    for _ in range(100):
        made.append(keys.new())
        clock.advance(0.001)
    ids = [run_id("qa", key) for key in made]
    assert ids == sorted(ids)
    assert len({*ids, *(run_id("news", key) for key in made)}) == 200
    assert all(len(key) == 33 for key in made)


def test_keys_made_at_the_same_time_differ() -> None:
    keys = RunKeys(FakeClock())
    assert len({keys.new() for _ in range(1000)}) == 1000


def test_a_key_that_only_looks_like_a_made_one_is_one_like_any_other() -> None:
    assert run_id("qa", "~" + "z" * 32) != run_id("qa", "~" + "y" * 32)
    assert run_id("qa", "~" + "0" * 33)[:12] != "0" * 12
