"""Large values in pieces: what comes back, what is shared, and what it takes."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis.strategies import (
    SearchStrategy,
    booleans,
    characters,
    dictionaries,
    floats,
    integers,
    lists,
    none,
    recursive,
    sampled_from,
    text,
)

from repertory.errors import StoreError
from repertory.store import contents as subject
from repertory.store.contents import (
    DEEPEST,
    FAN_OUT,
    INLINE,
    PIECE,
    WHOLE,
    Json,
    Spilled,
    Spiller,
    content_hash,
    references,
    references_of,
    restore,
    spill,
)

HASH = "0123456789abcdef" * 2
ANY_CHARACTER = characters(codec=None)  # also halves of characters


def json_values() -> SearchStrategy[Any]:
    texts = text(ANY_CHARACTER, max_size=20)
    names = texts | sampled_from(["$content", "$$content", '"$content":', "whole"])
    scalars = (
        none() | booleans() | integers() | integers(2**63, 2**70) | floats(allow_nan=False, allow_infinity=False)
    )
    # Repeated until it is divided, into one level or more.
    long_texts = texts.flatmap(lambda piece: sampled_from([30, 300, 3000]).map(lambda times: piece * times))
    leaves = scalars | texts | long_texts | sampled_from([HASH, '{"$content": "x"}', '["whole",1]'])

    def containers(values: SearchStrategy[Any]) -> SearchStrategy[Any]:
        some = lists(values, max_size=4)
        many = some.flatmap(lambda items: sampled_from([10, 100]).map(lambda times: _repeated(items, times)))
        return some | many | dictionaries(names, values, max_size=4)

    return recursive(leaves, containers, max_leaves=8)


def _repeated(items: list[Any], times: int) -> list[Any]:
    """``items``, ``times`` over, or as often as makes a text of a megabyte: they may be repeated themselves."""
    return items * min(times, 1 + 1_000_000 // len(as_text(items)))


def as_text(value: Json) -> str:
    """Unlike the values themselves, their texts tell 1 from True and from 1.0."""
    return json.dumps(value)


def through_a_store(spilled: Spilled) -> Json:
    return restore(json.loads(json.dumps(spilled.data)), spilled.contents)


def reachable(data: Json, contents: Mapping[str, bytes]) -> set[str]:
    found: set[str] = set()
    left = references(data)
    while left:
        hash = left.pop()
        if hash not in found:
            found.add(hash)
            left |= references_of(contents[hash])
    return found


def grown(spiller: Spiller, versions: list[Json]) -> tuple[dict[str, bytes], list[Spilled]]:
    """Everything that came of dividing one version after another."""
    contents: dict[str, bytes] = {}
    spilled = [spiller.spill(version) for version in versions]
    for each in spilled:
        assert not contents.keys() & each.contents.keys()
        contents |= each.contents
    return contents, spilled


@given(json_values(), sampled_from([64, INLINE, WHOLE]))
@example({"$content": HASH}, INLINE)
@example({"$content": {"$content": "x" * 5000}}, INLINE)
@example({"a": [{"$content": HASH}] * 100, "$content": [1]}, INLINE)
@example([{"$content": HASH, "text": "x" * 5000}] * 20, 64)
@example([10**700, "\ud800" * 3000, "\0" * 3000, -0.0, 1e308], 64)
@example(["0"] * 300, INLINE)
def test_every_value_comes_back(value: Json, inline: int) -> None:
    spilled = spill(value, inline=inline)
    assert as_text(through_a_store(spilled)) == as_text(value)


@given(json_values(), sampled_from([64, INLINE, WHOLE]))
def test_what_stands_for_a_value_is_small_and_each_content_is_needed(value: Json, inline: int) -> None:
    spilled = spill(value, inline=inline)
    text = json.dumps(spilled.data, ensure_ascii=False, separators=(",", ":"))
    assert len(text.encode(errors="surrogatepass")) <= inline
    assert reachable(spilled.data, spilled.contents) == spilled.contents.keys()
    assert all(content_hash(content) == hash for hash, content in spilled.contents.items())


@given(lists(json_values(), max_size=3))
def test_a_spiller_hands_out_each_content_once_and_all_that_a_value_needs(values: list[Any]) -> None:
    versions: list[Json] = [*values, *values, {"all": [*values]}]
    contents, spilled = grown(Spiller(64), versions)
    for value, each in zip(versions, spilled, strict=True):
        assert as_text(restore(each.data, contents)) == as_text(value)


def test_a_small_value_is_left_as_it_is() -> None:
    value: Json = {"question": "What?", "say": "$content", "n": [1, 2]}
    spilled = spill(value)
    assert spilled.data is value
    assert spilled.contents == {}


def test_only_the_large_members_of_an_object_are_replaced() -> None:
    value: Json = {"role": "user", "text": "x" * 5000, "inner": {"short": 1, "long": [0] * 5000}}
    spilled = spill(value)
    assert isinstance(spilled.data, dict)
    assert isinstance(spilled.data["inner"], dict)
    assert (spilled.data["role"], spilled.data["inner"]["short"]) == ("user", 1)
    assert len(references(spilled.data)) == 2


def test_equal_values_are_one_content() -> None:
    value: Json = {"a": "x" * 1000, "b": {"c": "z" * 2000, "e": "x" * 1000}, "d": "y" * 1000}
    assert len(spill(value).contents) == 3


@pytest.mark.parametrize("levels", [DEEPEST + 5, 300, 700])
@pytest.mark.parametrize("around", [lambda value: [value], lambda value: {"a": value, "b": "x" * 600}])
def test_no_value_is_too_deep(levels: int, around: Any) -> None:
    value: Json = "y" * 5000
    for _ in range(levels):
        value = around(value)
    assert restore((spilled := spill(value)).data, spilled.contents) == value


def test_a_history_stays_linear() -> None:
    history: list[Json] = []
    versions: list[Json] = []
    for number in range(1000):
        history.append({"role": "user", "content": f"{number:>5} " * 40})
        versions.append({"history": [*history], "question": "What next?"})
    contents, spilled = grown(Spiller(), versions)
    assert sum(map(len, contents.values())) < 3 * len(json.dumps(history))
    assert len(contents) < 2.2 * 1000
    # An item, the roots of three levels, and a full node of the two below the uppermost.
    assert max(len(each.contents) for each in spilled[FAN_OUT:]) <= 1 + 3 + 2
    for number in (0, 15, 16, 17, 256, 272, 273, 999):
        assert restore(spilled[number].data, contents) == versions[number]


def test_a_text_that_grows_stays_linear() -> None:
    whole = "".join(f"line {number}: what was seen there\n" for number in range(8000))
    versions: list[Json] = [{"notes": whole[:end]} for end in range(300, len(whole), 300)]
    contents, spilled = grown(Spiller(), versions)
    assert sum(map(len, contents.values())) < 4.5 * len(whole)
    for number in (0, 5, 6, 7, 60, 61, len(versions) - 1):
        assert restore(spilled[number].data, contents) == versions[number]


def test_two_runs_with_the_same_history_store_it_once() -> None:
    history: Json = [{"role": "user", "content": f"{number:>5} " * 40} for number in range(100)]
    one, other = Spiller(), Spiller()
    for end in range(1, 101):
        assert isinstance(history, list)
        first, second = one.spill(history[:end]), other.spill(history[:end])
        assert first == second


def test_a_history_that_did_not_change_is_not_divided_again(monkeypatch: pytest.MonkeyPatch) -> None:
    history: list[Json] = [{"role": "user", "content": f"{number:>5} " * 40} for number in range(20 * FAN_OUT)]
    spiller = Spiller()
    spiller.spill(history)
    hashed: list[bytes] = []

    def counting(content: bytes) -> str:
        hashed.append(content)
        return content_hash(content)

    monkeypatch.setattr(subject, "content_hash", counting)
    assert spiller.spill([*history, "new " * 100]).contents
    # The last parts, full or not, the branch of the full nodes, and the roots of both levels.
    assert len(hashed) <= 2 * FAN_OUT + 4


def test_a_spiller_that_knows_enough_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MOST_KNOWN", 3)
    spiller = Spiller()
    value: Json = ["x" * 600, "y" * 600, "z" * 600, "w" * 600]
    first = spiller.spill(value)
    assert len(first.contents) == 5
    assert spiller.spill(value) == first


def test_a_value_that_could_not_be_divided_leaves_nothing_behind() -> None:
    spiller = Spiller()
    broken: Any = {"a": "x" * 5000, "b": object()}
    with pytest.raises(TypeError):
        spiller.spill(broken)
    assert spiller.spill({"a": "x" * 5000}) == spill({"a": "x" * 5000})


def test_a_text_is_cut_between_characters() -> None:
    value = "🦆ü" * PIECE
    assert through_a_store(spill(value)) == value


def test_what_is_missing_is_named() -> None:
    spilled = spill(["x" * 600] * 20)
    for hash in spilled.contents:
        with pytest.raises(StoreError, match=f"content {hash} is missing"):
            restore(spilled.data, {other: each for other, each in spilled.contents.items() if other != hash})


def test_what_was_not_spilled_is_refused() -> None:
    with pytest.raises(StoreError, match="is no reference to a content"):
        restore({"$content": 1}, {})


@pytest.mark.parametrize("inline", [0, 63, WHOLE + 1])
def test_a_bound_that_leaves_no_room_for_a_reference_or_is_more_than_a_content_is_refused(inline: int) -> None:
    with pytest.raises(ValueError, match=f"inline = {inline}: write 64 to 2048"):
        spill(1, inline=inline)
