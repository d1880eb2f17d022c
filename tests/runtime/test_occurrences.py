"""Occurrences: exact counts, whatever is asked together."""

from collections import Counter
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis.strategies import lists, sampled_from

from repertory.errors import StoreError
from repertory.runtime.occurrences import STATEMENT, Occurrences

CONTENTS = [sha256(bytes([number])).hexdigest() for number in range(12)]


@given(lists(lists(sampled_from(CONTENTS), max_size=30), max_size=20))
def test_each_content_is_numbered_by_how_often_it_came_before(groups: list[list[str]]) -> None:
    seen: Counter[str] = Counter()
    with Occurrences() as occurrences:
        for group in groups:
            expected = []
            for content in group:
                expected.append(seen[content])
                seen[content] += 1
            assert occurrences.number(group) == expected


def test_a_group_may_be_longer_than_a_statement() -> None:
    many = [sha256(str(number).encode()).hexdigest() for number in range(2 * STATEMENT)]
    with Occurrences() as occurrences:
        assert occurrences.number([*many, *many, many[0]]) == [0] * len(many) + [1] * len(many) + [2]


def test_counts_are_right_beyond_what_is_held_in_memory() -> None:
    many = [sha256(str(number).encode()).hexdigest() for number in range(40_000)]
    with Occurrences() as occurrences:
        occurrences._database.execute("PRAGMA cache_size = 10")
        for times in range(2):
            assert set(occurrences.number(many)) == {times}


def test_a_full_disk_is_told_with_its_remedy() -> None:
    many = [sha256(str(number).encode()).hexdigest() for number in range(5_000)]
    with Occurrences() as occurrences:
        occurrences._database.execute("PRAGMA max_page_count = 10")
        with pytest.raises(StoreError, match=r"occurrences of rows cannot be counted: .* full") as caught:
            occurrences.number(many)
    assert "SQLITE_TMPDIR" in str(caught.value.hint)
