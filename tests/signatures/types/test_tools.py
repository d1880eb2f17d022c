"""Tools and their calls, and the history of a conversation."""

import threading
from typing import Literal

import pytest

import repertory as rp
from repertory.errors import InputError, ProgramError, SignatureError
from repertory.modules import ChatAdapter
from repertory.providers.messages import Message
from repertory.signatures import Signature, compile_signature
from tests.signatures.types.reading import read, refusal


async def search(query: str, limit: int = 3, order: Literal["new", "old"] = "new") -> list[str]:
    """Search the archive.

    Slow.
    """
    return [f"{query} {order}"] * limit


def thread_name(prefix: str) -> str:
    return prefix + threading.current_thread().name


SEARCH = rp.Tool.of(search)


async def test_a_function_becomes_a_tool() -> None:
    assert (SEARCH.name, SEARCH.description) == ("search", "Search the archive.\n\nSlow.")
    assert SEARCH.parameters["properties"] == {
        "query": {"type": "string"},
        "limit": {"default": 3, "type": "integer"},
        "order": {"default": "new", "enum": ["new", "old"], "type": "string"},
    }
    assert SEARCH.parameters["required"] == ["query"]
    assert await SEARCH(query="cats", limit="2") == ["cats new", "cats new"]


async def test_a_plain_function_runs_in_a_thread() -> None:
    name = await rp.Tool.of(thread_name, description="Tell the thread.")(prefix=">")
    assert name != f">{threading.current_thread().name}"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [({}, "query"), ({"query": "a", "limit": "many"}, "limit"), ({"query": "a", "page": 1}, "page")],
)
async def test_wrong_arguments_are_named_and_nothing_is_called(arguments: dict[str, object], field: str) -> None:
    with pytest.raises(InputError) as refused:
        await SEARCH(**arguments)
    assert refused.value.field == field
    assert refused.value.hint == "search takes: query, limit, order."


async def test_a_tool_from_json_is_shown_and_not_called() -> None:
    again = rp.Tool.model_validate_json(SEARCH.model_dump_json())
    assert (again.name, again.parameters) == (SEARCH.name, SEARCH.parameters)
    with pytest.raises(ProgramError, match="was read from JSON"):
        await again(query="a")


def test_a_function_that_can_be_no_tool_is_refused() -> None:
    def many(*values: int) -> None: ...

    def strange(value: object, lock: threading.Lock) -> None: ...

    with pytest.raises(SignatureError, match=r"takes \*values"):
        rp.Tool.of(many)
    with pytest.raises(SignatureError, match="no schema can be made"):
        rp.Tool.of(strange)
    with pytest.raises(SignatureError, match="Pass name="):
        rp.Tool.of(lambda x: x)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ('{"name": "search", "arguments": {"query": "cats"}, "id": "1"}', []),
        ('{"id": "1", "function": {"name": "search", "arguments": "{\\"query\\": \\"cats\\"}"}}', 1),
        ('{"id": "1", "name": "search", "input": {"query": "cats"}}', ["`input` as `arguments`"]),
        ('{"id": "1", "tool": "search", "args": {"query": "cats"}}', ["`tool` as `name`; `args` as `arguments`"]),
    ],
)
def test_calls_as_providers_write_them(reply: str, told: list[str] | int) -> None:
    call, changes = read("ToolCall", reply)
    assert call == rp.ToolCall(name="search", arguments={"query": "cats"}, id="1")
    assert changes == told or len(changes) == told


@pytest.mark.parametrize(
    ("reply", "arguments", "told"),
    [
        (
            '{"name": "s", "arguments": {}, "input": {"q": 1}}',
            {"q": 1},
            "past `arguments`, which is empty; `input` as `arguments`",
        ),
        ('{"name": "s", "arguments": {"q": 1}, "why": 2}', {"q": 1}, "past 'why'"),
        ('{"name": "s", "arguments": null}', {}, "no arguments as none"),
        (
            '{"function": {"name": "s", "arguments": {"q": 1}, "strict": true}, "index": 0}',
            {"q": 1},
            "what is in `function` as the call; past 'index'; past 'strict'",
        ),
    ],
)
def test_nothing_of_a_call_is_lost_without_a_word(reply: str, arguments: dict[str, object], told: str) -> None:
    assert read("ToolCall", reply) == (rp.ToolCall(name="s", arguments=arguments), [told])


@pytest.mark.parametrize(
    "reply",
    ['{"name": "s", "arguments": {"q": 1}, "input": {"q": 2}}', '{"name": "s", "tool": "t", "arguments": {}}'],
)
def test_a_call_that_says_two_things_is_refused(reply: str) -> None:
    assert refusal("ToolCall", reply)


def test_calls_as_python_are_read_and_never_evaluated() -> None:
    calls, _ = read("list[ToolCall]", '["search(query=\\"cats\\", limit=2)", "now()"]')
    assert calls == [rp.ToolCall(name="search", arguments={"query": "cats", "limit": 2}), rp.ToolCall(name="now")]
    for text in ("search('cats')", "search(query=open('x'))", "a.b(c=1)", "1 + 1", "f(" * 300):
        assert refusal("ToolCall", f'"{text}"')


def test_a_result_is_what_came_or_what_went_wrong() -> None:
    value, _ = read("ToolResult", '{"name": "search", "output": [1, {"a": null}], "error": null, "call_id": "1"}')
    assert value == rp.ToolResult(name="search", output=[1, {"a": None}], call_id="1")


def test_the_turns_of_a_history_are_earlier_messages() -> None:
    compiled = compile_signature(Signature.parse("history: History, question, pages: int = 1 -> answer"))
    history = rp.History().with_turn(question="Who?", answer="Me.").with_turn(question="Sure?").with_turn(other=1)
    assert len(history) == 3
    inputs = compiled.validate_inputs({"history": history, "question": "Why?"})
    assert compiled.validate_inputs(compiled.dump_inputs(inputs)) == inputs
    assert list(ChatAdapter().format(compiled, (), inputs))[1:] == [
        Message("user", "[[ ## question ## ]]\nWho?"),
        Message("assistant", "[[ ## answer ## ]]\nMe.\n\n[[ ## completed ## ]]"),
        Message("user", "[[ ## question ## ]]\nSure?"),
        Message("user", "[[ ## question ## ]]\nWhy?\n\n[[ ## pages ## ]]\n1"),
    ]
    with pytest.raises(InputError) as refused:
        compiled.validate_inputs({"history": {"messages": ["hi"]}, "question": "?"})
    assert refused.value.field == "history.messages.0"
