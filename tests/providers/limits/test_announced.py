import pytest
from hypothesis import given
from hypothesis.strategies import dictionaries, floats, integers, sampled_from, text
from multidict import CIMultiDict, CIMultiDictProxy

from repertory.providers.limits.announced import (
    ANTHROPIC,
    LONGEST,
    OPENAI,
    Allowance,
    Announced,
    announced_in,
)

NOW = 1_755_780_000.0  # 2025-08-21T12:40:00Z


def test_reads_what_openai_announces() -> None:
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert announced_in(headers, NOW) == Announced(Allowance(59, 60, 1.0), Allowance(149_984, 150_000, 360.0))


def test_reads_what_anthropic_announces() -> None:
    headers = {
        "anthropic-ratelimit-requests-limit": "1000",
        "anthropic-ratelimit-requests-remaining": "999",
        "anthropic-ratelimit-requests-reset": "2025-08-21T12:40:05Z",
        "anthropic-ratelimit-tokens-limit": "96000",
        "anthropic-ratelimit-tokens-remaining": "95000",
        "anthropic-ratelimit-tokens-reset": "2025-08-21T14:40:01.5+02:00",
        "anthropic-ratelimit-input-tokens-limit": "80000",
        "anthropic-ratelimit-input-tokens-remaining": "79000",
        "anthropic-ratelimit-input-tokens-reset": "2025-08-21T12:39:00Z",
        "anthropic-ratelimit-output-tokens-limit": "16000",
        "anthropic-ratelimit-output-tokens-remaining": "0",
        "anthropic-ratelimit-output-tokens-reset": "2025-08-21T12:41:00Z",
    }
    assert announced_in(headers, NOW) == Announced(
        requests=Allowance(999, 1000, 5.0),
        tokens=Allowance(95_000, 96_000, 1.5),
        input_tokens=Allowance(79_000, 80_000, 0.0),
        output_tokens=Allowance(0, 16_000, 60.0),
    )


def test_case_is_of_no_account_where_the_mapping_ignores_it() -> None:
    headers = CIMultiDictProxy(CIMultiDict([("X-RateLimit-Remaining-Requests", "3")]))
    assert announced_in(headers, NOW) == Announced(requests=Allowance(3))


def test_an_answer_that_announces_nothing_is_told_apart() -> None:
    assert announced_in({"content-type": "application/json", "retry-after": "5"}, NOW) is None


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("20ms", 0.02),
        ("1h2m3.5s", 3723.5),
        ("2m59.56s", 179.56),
        ("1m", 60.0),
        ("1h", 3600.0),
        ("1s500ms", 1.5),
        ("0s", 0.0),
        ("30", 30.0),
        ("7.5", 7.5),
    ],
)
def test_reads_a_duration(said: str, seconds: float) -> None:
    assert reset(said) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "said",
    ["", "soon", "-1s", "1s2m", "s", "1 s", "1e3s", "nan", "٣s", "1755780000", "1" * 8000 + "s", "9" * 8000],
)
def test_what_is_no_duration_is_as_if_not_said(said: str) -> None:
    assert reset(said) is None


@pytest.mark.parametrize("said", ["", "tomorrow", "2025-08-21T12:40:05", "1755780005", "2099-01-01T00:00:00Z"])
def test_what_is_no_time_from_now_is_as_if_not_said(said: str) -> None:
    headers = {"anthropic-ratelimit-requests-remaining": "0", "anthropic-ratelimit-requests-reset": said}
    assert announced_in(headers, NOW) == Announced(requests=Allowance(0))


@pytest.mark.parametrize("said", ["", "-1", "1.5", "many", "1, 2", "9" * 5000])
def test_what_is_no_count_is_as_if_not_said(said: str) -> None:
    headers = {"x-ratelimit-remaining-requests": said, "x-ratelimit-remaining-tokens": "5"}
    assert announced_in(headers, NOW) == Announced(tokens=Allowance(5))
    assert announced_in({"x-ratelimit-remaining-tokens": "5", "x-ratelimit-limit-tokens": said}, NOW) == Announced(
        tokens=Allowance(5)
    )


def reset(said: str) -> float | None:
    announced = announced_in({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": said}, NOW)
    assert announced is not None
    assert announced.requests is not None
    return announced.requests.resets_in


@given(integers(0, 99), integers(0, 59), floats(0, 59.999))
def test_reads_every_duration_as_go_prints_it(hours: int, minutes: int, seconds: float) -> None:
    said = f"{hours}h{minutes}m{seconds:.3f}s"
    assert reset(said) == pytest.approx(hours * 3600 + minutes * 60 + seconds, abs=0.001)


EVERY_NAME = [name for names in (*OPENAI, *ANTHROPIC) for name in (names.remaining, names.limit, names.reset)]


@given(dictionaries(sampled_from(EVERY_NAME), text(max_size=12) | sampled_from(["0", "5", "1s", "2025-08-21"])))
def test_nothing_a_peer_says_raises_or_makes_the_wait_negative_or_endless(headers: dict[str, str]) -> None:
    announced = announced_in(headers, NOW)
    if announced is None:
        return
    for allowance in (announced.requests, announced.tokens, announced.input_tokens, announced.output_tokens):
        if allowance is not None:
            assert allowance.remaining >= 0
            assert allowance.resets_in is None or 0 <= allowance.resets_in <= LONGEST
