"""The cache of compiled signatures, and the content it finds them by."""

import gc
import threading
import time
import typing
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Annotated, Any, Literal

import annotated_types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, Field

from repertory.errors import ConfigError, SignatureError
from repertory.signatures import CompiledSignature, InputField, OutputField, Signature, check, compile_signature
from repertory.signatures.cache import BoundedCache
from repertory.signatures.compiled import compile_cache_stats
from repertory.signatures.content import ContentKey, content_key, frozen, frozen_type

T = typing.TypeVar("T")
Cache = BoundedCache[ContentKey, CompiledSignature]


def made(annotation: Any = str, *, role: Any = InputField, **mark: Any) -> type[Signature]:
    name = "given" if role is InputField else "answer"
    return Signature.parse("given -> answer").with_fields(**{name: (annotation, role(**mark))})


class Mood(Enum):
    GOOD = "good"


class Plan(BaseModel):
    steps: int = 1


Plans = [type("Plan", (Plan,), {}), type("Plan", (Plan,), {})]


def positive(n: int) -> int:
    return n


@check("wrong")
def is_good(answer: str) -> bool:
    return True


# --- content -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (made(desc="x"), made(desc="x")),
        (made(default=[1, {"a": {2}}]), made(default=[1, {"a": {2}}])),
        (made(int | None), made(typing.Optional[int])),  # noqa: UP045  # what users write
        (made(typing.Union[int, str]), made(int | str)),  # noqa: UP007  # the old spelling is what is tested
        (made(list[int]), made(typing.List[int])),  # noqa: UP006  # likewise
        (made(list), made(typing.List)),  # noqa: UP006  # likewise
        (made(Annotated[int, Field(ge=1)]), made(Annotated[int, Field(ge=1)])),
        (made(Annotated[int, AfterValidator(positive)]), made(Annotated[int, AfterValidator(positive)])),
        (made(default=Decimal("1.0")), made(default=Decimal("1.0"))),
        (made(ge=1, le=2), made(le=2, ge=1)),
        (made(default=float("nan")), made(default=float("nan"))),
    ],
)
def test_the_same_content_made_anew_is_found(one: type[Signature], other: type[Signature]) -> None:
    cache = Cache(limit=2)
    keys = [content_key(signature) for signature in (one, other)]
    assert keys[0] == keys[1]
    values = [compiled_or_error(signature, cache) for signature in (one, other)]
    if values[0] is not None:
        assert values[0] is values[1]


def compiled_or_error(signature: type[Signature], cache: Cache) -> CompiledSignature | None:
    try:
        return compile_signature(signature, cache)
    except SignatureError:
        return None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (made(int | str), made(str | int)),
        (made(list[int | str]), made(list[str | int])),
        (made(Literal["a", "b"]), made(Literal["b", "a"])),
        (made(Literal[1]), made(Literal[True])),
        (made(Plans[0]), made(Plans[1])),
        (made(list[Plans[0]]), made(list[Plans[1]])),  # type: ignore[valid-type]  # made at run time
        (made(Any, default=1), made(Any, default=True)),
        (made(Any, default=1), made(Any, default=1.0)),
        (made(Any, default=0.0), made(Any, default=-0.0)),
        (made(Any, default=[1]), made(Any, default=(1,))),
        (made(Any, default={"a": 1, "b": 2}), made(Any, default={"b": 2, "a": 1})),
        (made(Any, default=Plan()), made(Any, default=Plan())),
        (made(Any, default="good"), made(Any, default=Mood.GOOD)),
        (made(float, ge=1), made(float, ge=1.0)),
        (made(Annotated[int, Field(ge=1)]), made(Annotated[int, Field(gt=1)])),
        (made(Annotated[str, Field(pattern="a")]), made(Annotated[str, Field(pattern="b")])),
        (made(Annotated[int, AfterValidator(positive)]), made(Annotated[int, AfterValidator(lambda n: n)])),
        (made(examples=["a"]), made(examples=["b"])),
        (made(), made(default="")),
        (made(), made().with_checks(is_good)),
        (made(), made().with_instructions("Do.")),
        (made(tuple[()]), made(tuple)),
        (made(role=OutputField), made(role=OutputField, default="x")),
    ],
)
def test_different_content_is_not_shared(one: type[Signature], other: type[Signature]) -> None:
    assert content_key(one) != content_key(other)
    assert content_key(one) == content_key(one)


def test_two_names_of_one_content_keep_their_names() -> None:
    class First(Signature):
        a: int = InputField()
        b: str = OutputField()

    class Second(Signature):
        a: int = InputField()
        b: str = OutputField()

    cache = Cache(limit=2)
    assert [compile_signature(each, cache).name for each in (First, Second)] == ["First", "Second"]
    assert First.equals(Second)


def test_what_python_calls_equal_is_told_apart_in_metadata() -> None:
    assert frozen(annotated_types.Ge(1)) == frozen(annotated_types.Ge(1))
    assert frozen(annotated_types.Ge(1)) != frozen(annotated_types.Ge(True))


values = st.recursive(
    st.none() | st.booleans() | st.sampled_from([0, 1, 0.0, -0.0, 1.0, float("nan")]) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=1), inner, max_size=2),
    max_leaves=5,
)


@given(one=values, other=values)
def test_frozen_values_are_equal_where_python_shows_the_same(one: object, other: object) -> None:
    assert (frozen(one) == frozen(other)) == (repr(one) == repr(other))
    assert hash(frozen(one)) == hash(frozen(one))


def test_a_value_that_contains_itself_or_is_very_deep_has_content_too() -> None:
    endless: list[object] = []
    endless.append(endless)
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (endless, deep):
        assert hash(frozen(value)) == hash(frozen(value))
    deep.clear()


def test_a_type_that_says_it_equals_another_is_still_itself() -> None:
    class Sly(type):
        def __eq__(cls, other: object) -> bool:
            return True

        def __hash__(cls) -> int:
            return 1

    one, other = Sly("One", (), {}), Sly("Other", (), {})
    assert frozen_type(list[one]) != frozen_type(list[other])  # type: ignore[valid-type]  # made at run time


# --- the cache -----------------------------------------------------------------------------------------------


def numbered(number: int) -> type[Signature]:
    return Signature.parse("a -> b").with_instructions(str(number))


def test_counts_hits_misses_evictions_and_size() -> None:
    cache = Cache(limit=2)
    for number in (1, 2, 1, 3, 1, 2):
        compile_signature(numbered(number), cache)
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.evictions, stats.size, stats.limit) == (2, 4, 2, 2, 2)
    assert stats.hit_rate == pytest.approx(1 / 3)


def test_the_least_recently_used_goes_first() -> None:
    cache = Cache(limit=2)
    kept = compile_signature(numbered(1), cache)
    compile_signature(numbered(2), cache)
    compile_signature(numbered(1), cache)
    compile_signature(numbered(3), cache)
    assert compile_signature(numbered(1), cache) is kept
    assert cache.stats().misses == 3


def test_a_cache_that_shrinks_drops_what_was_not_used_for_longest() -> None:
    cache = BoundedCache[int, int](limit=10)
    for number in (1, 2, 3, 4, 5, 1):
        cache.get(number, partial(int, number))
    cache.shrink(0.5)  # of five, two
    held = [number for number in (1, 2, 3, 4, 5) if cache.get(number, lambda: -1) == number]
    assert held == [1, 4, 5]
    assert cache.stats().evictions == 2


@pytest.mark.parametrize("limit", [0, -1])
def test_a_cache_of_nothing_is_refused(limit: int) -> None:
    with pytest.raises(ConfigError, match=f"cache limit = {limit}"):
        Cache(limit=limit)


def test_what_is_evicted_is_freed_though_its_class_lives() -> None:
    cache = Cache(limit=1)
    first, second = numbered(1), numbered(2)
    compiled = weakref.ref(compile_signature(first, cache))
    gc.collect()
    assert compiled() is not None
    compile_signature(second, cache)
    gc.collect()
    assert compiled() is None
    assert compile_signature(first, cache).instructions == "1"


def test_a_failing_compilation_is_told_each_time_and_not_kept() -> None:
    cache = Cache(limit=2)
    bad = made(int, default="x")
    for _ in range(2):
        with pytest.raises(SignatureError, match="the default does not fit int"):
            compile_signature(bad, cache)
    assert (cache.stats().misses, cache.stats().size) == (2, 0)


def test_a_value_may_be_made_of_another_one() -> None:
    cache = BoundedCache[str, str](limit=4)
    assert cache.get("a", lambda: cache.get("b", lambda: "x") + "y") == "xy"
    assert cache.get("b", lambda: "z") == "x"


def test_a_value_that_needs_itself_is_an_error_and_no_wait() -> None:
    cache = BoundedCache[str, str](limit=4)

    def again() -> str:
        return cache.get("a", again)

    with pytest.raises(RecursionError):
        again()
    assert cache.get("a", lambda: "x") == "x"


def test_what_destroys_an_evicted_value_may_use_the_cache() -> None:
    cache = BoundedCache[int, Any](limit=1)

    class Telling:
        def __del__(self) -> None:
            told.append(cache.get(2, lambda: "made again"))

    told: list[str] = []
    cache.get(1, Telling)
    cache.get(2, lambda: "two")
    gc.collect()
    assert told == ["two"]
    cache.get(1, Telling)
    cache.shrink(1.0)
    gc.collect()
    assert told == ["two", "made again"]


def all_at_once(work: Callable[[int], T], threads: int) -> list[T]:
    start = threading.Barrier(threads)

    def one(number: int) -> T:
        start.wait(timeout=60)
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(threads)))


def test_threads_that_want_the_same_get_the_one_that_is_made() -> None:
    cache = BoundedCache[str, object](limit=4)
    makers: list[int] = []

    def work(number: int) -> object:
        def make() -> object:
            makers.append(number)
            deadline = time.monotonic() + 60
            while cache._making["a"].waiting < 8 and time.monotonic() < deadline:
                time.sleep(0)  # lets the others come
            return object()

        return cache.get("a", make)

    assert len(set(all_at_once(work, 8))) == 1
    assert len(makers) == 1
    assert (cache.stats().hits, cache.stats().misses) == (7, 1)


def test_threads_that_want_different_values_do_not_wait_for_each_other() -> None:
    cache = BoundedCache[int, int](limit=4)
    both_make = threading.Barrier(2)

    def work(number: int) -> object:
        def make() -> int:
            both_make.wait(timeout=60)  # passes only while both are being made
            return number

        return cache.get(number, make)

    assert all_at_once(work, 2) == [0, 1]


def test_each_of_the_threads_that_wait_for_a_failing_value_fails() -> None:
    cache = BoundedCache[str, str](limit=4)

    def make() -> str:
        raise ValueError("no")

    def work(number: int) -> object:
        with pytest.raises(ValueError, match="no") as error:
            cache.get("a", make)
        return error.value

    assert len(set(map(id, all_at_once(work, 4)))) == 4
    assert (cache.stats().misses, cache.stats().size) == (4, 0)


def test_many_threads_and_evictions_keep_the_invariants() -> None:
    cache = BoundedCache[int, int](limit=5)

    def work(number: int) -> bool:
        keys = [(number * 7 + step) % 11 for step in range(2_000)]
        return all(cache.get(key, partial(int, key)) == key for key in keys)

    assert all_at_once(work, 4) == [True] * 4
    stats = cache.stats()
    assert stats.hits + stats.misses == 8_000
    assert stats.misses - stats.evictions == stats.size == 5


@given(st.lists(st.integers(0, 6), max_size=60), st.integers(1, 5))
def test_agrees_with_a_list_in_order_of_use(keys: list[int], limit: int) -> None:
    cache = BoundedCache[int, int](limit=limit)
    used: list[int] = []
    misses = 0
    for key in keys:
        before = cache.stats().misses
        assert cache.get(key, partial(int, key)) == key
        missed = cache.stats().misses > before
        assert missed == (key not in used)
        misses += missed
        used = [*(each for each in used if each != key), key][-limit:]
    assert (cache.stats().size, cache.stats().misses) == (len(used), misses)


# --- what users see ------------------------------------------------------------------------------------------


def test_the_same_text_is_the_same_class_and_costs_no_second_compilation() -> None:
    text = "a_text_of_this_test -> b"
    compile_signature(Signature.parse(text))
    before = compile_cache_stats()
    assert Signature.parse(text) is Signature.parse("".join([text]))
    assert compile_signature(Signature.parse(text)) is compile_signature(Signature.parse(text))
    after = compile_cache_stats()
    assert (after.hits - before.hits, after.misses - before.misses) == (2, 0)


def test_another_type_by_the_same_name_or_other_instructions_are_another_class() -> None:
    text = "a: Plan -> b"
    first, second = (Signature.parse(text, types={"Plan": each}) for each in Plans)
    assert [each.inputs[0].annotation for each in (first, second)] == Plans
    assert Signature.parse(text, types={"Plan": Plans[0]}) is first
    assert Signature.parse(text, "Do.", types={"Plan": Plans[0]}) is not first
    one, other = (Signature.parse("a: U -> b", types={"U": each}) for each in (int | str, str | int))
    assert one is not other


def test_a_very_long_text_is_read_each_time() -> None:
    text = "a" * 20_000 + " -> b"
    assert Signature.parse(text) is not Signature.parse(text)
    assert Signature.parse(text).equals(Signature.parse(text))


def test_equal_signatures_made_in_other_ways_share_one_compiled_form() -> None:
    before = compile_cache_stats()
    again = Signature.parse("x_y -> z").delete().append("more", OutputField()).delete("more")
    assert compile_signature(again) is compile_signature(Signature.parse("x_y -> z"))
    after = compile_cache_stats()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 1)


def test_types_of_one_name_do_not_share_a_form() -> None:
    def of(*choices: str) -> type[Signature]:
        kind: Any = Literal
        return Signature.parse("a -> b: Kind", types={"Kind": kind[choices]})

    assert compile_signature(of("x")) is not compile_signature(of("y"))
    assert compile_signature(of("x")) is compile_signature(of("x"))
