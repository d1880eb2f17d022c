"""Requests and replies of every shape, for property tests."""

from decimal import Decimal

from hypothesis.strategies import (
    SearchStrategy,
    binary,
    booleans,
    builds,
    decimals,
    dictionaries,
    floats,
    integers,
    just,
    lists,
    none,
    one_of,
    recursive,
    sampled_from,
    text,
    tuples,
)

from repertory.providers.messages import (
    Choice,
    LMRequest,
    LMResponse,
    MediaPart,
    Message,
    ReasoningPart,
    Terms,
    TextPart,
    Thinking,
    TokenLogprob,
    ToolCallPart,
    ToolDefinition,
    ToolResultPart,
    Usage,
)

# Few letters, some of which mean something in JSON: so that two values often look alike.
WORDS = text('ab1",[]{}:\\', max_size=3)
ANY_TEXT = text(max_size=20)
COUNTS = integers(0, 2**53)


def parts(words: SearchStrategy[str]) -> SearchStrategy[object]:
    return one_of(
        builds(TextPart, words),
        builds(
            MediaPart,
            sampled_from(["image", "audio", "file"]),
            words,
            none() | binary(max_size=4),
            none() | words,
            words,
        ),
        builds(ToolCallPart, words, words, words, words),
        builds(ToolResultPart, words, words, words, booleans()),
        builds(ReasoningPart, words, words, booleans(), words),
    )


def contents(words: SearchStrategy[str]) -> SearchStrategy[object]:
    return words | lists(parts(words), max_size=3).map(tuple)


JSON_VALUES: SearchStrategy[object] = recursive(
    none() | booleans() | integers(-2, 2) | sampled_from([0.0, 1.0, -1.0, 0.5]) | WORDS,
    lambda inner: lists(inner, max_size=2) | dictionaries(WORDS, inner, max_size=2),
    max_leaves=4,
)
SCHEMAS = dictionaries(WORDS, JSON_VALUES, max_size=2)
TOOLS = builds(ToolDefinition, WORDS, WORDS, SCHEMAS, booleans())
SMALL_NUMBERS = none() | integers(0, 2)

REQUESTS = builds(
    LMRequest,
    messages=lists(
        builds(Message, sampled_from(["system", "user", "assistant", "tool"]), contents(WORDS), booleans()),
        max_size=2,
    ).map(tuple),
    response_schema=none() | SCHEMAS,
    schema_name=WORDS,
    temperature=none() | sampled_from([0.0, 1.0, 0.5]),
    max_tokens=SMALL_NUMBERS,
    seed=SMALL_NUMBERS,
    stop=lists(WORDS, max_size=2).map(tuple),
    top_p=none() | sampled_from([0.0, 1.0]),
    tools=lists(TOOLS, max_size=2).map(tuple),
    tool_choice=WORDS,
    parallel_tool_calls=none() | booleans(),
    n=integers(1, 2),
    top_logprobs=SMALL_NUMBERS,
    thinking=none() | builds(Thinking, none() | just("low"), SMALL_NUMBERS),
    extra=SCHEMAS,
    terms=builds(Terms, rollout=WORDS),
)

LOGPROBS = lists(
    builds(
        TokenLogprob,
        ANY_TEXT,
        floats(allow_nan=False) | integers(-9, 0),
        lists(tuples(ANY_TEXT, floats(allow_nan=False)), max_size=2).map(tuple),
    ),
    max_size=2,
).map(tuple)

RESPONSES = builds(
    LMResponse,
    content=contents(ANY_TEXT),
    finish_reason=sampled_from(["stop", "length", "tool_calls", "refusal", "other"]),
    usage=builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS),
    model=ANY_TEXT,
    id=ANY_TEXT,
    logprobs=LOGPROBS,
    others=lists(builds(Choice, contents(ANY_TEXT), ANY_TEXT, LOGPROBS), max_size=2).map(tuple),
    cost=none() | just(Decimal(0)) | decimals(0, 1000, places=9),
    source=sampled_from(["model", "cache", "stale"]),
    emulated=lists(ANY_TEXT, max_size=2).map(tuple),
)
