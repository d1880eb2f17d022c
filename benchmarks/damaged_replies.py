"""Replies damaged as models damage them, over twenty signatures: what becomes of them.

    python -m benchmarks.damaged_replies [--seed N] [--json]

Each reply is made from an intended object by one kind of damage, or two, drawn by a seeded generator. It counts
as recovered if it is read as that object; one that is cut off in the midst of a value counts if it is refused, or
told as cut off. It is *silently wrong* if it is read as another object and no change is told.
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Literal, TypeAlias

from benchmarks.damaged_schemas import SCHEMAS
from repertory.errors import OutputsInvalid
from repertory.modules import JSONAdapter
from repertory.signatures import Signature, compile_signature

REPLIES: Final = 200
SEED: Final = 20_261_124

Values: TypeAlias = dict[str, Any]
Damage: TypeAlias = Callable[[str, Values, Random], str]
Outcome: TypeAlias = Literal["recovered", "refused", "wrong, told", "silently wrong"]


@dataclass(frozen=True, slots=True)
class DamagedReply:
    """A reply, and what it was before."""

    signature: type[Signature]
    intended: Values
    kind: str
    text: str


def replies(seed: int = SEED, count: int = REPLIES) -> Iterator[DamagedReply]:
    """``count`` replies, each signature and each kind of damage in turn."""
    random = Random(seed)
    kinds = list(DAMAGES)
    for number in range(count):
        signature, examples = SCHEMAS[number % len(SCHEMAS)]
        intended = random.choice(examples)
        kind = kinds[(number + number // len(SCHEMAS)) % len(kinds)]
        text = json.dumps(intended, indent=random.choice((None, 2)), ensure_ascii=random.random() < 0.2)
        yield DamagedReply(signature, intended, kind, DAMAGES[kind](text, intended, random))


def outcome(reply: DamagedReply) -> Outcome:
    """What the JSON adapter makes of ``reply``."""
    compiled = compile_signature(reply.signature)
    expected = compiled.reader.from_json(json.dumps(reply.intended)).outputs
    try:
        reading = JSONAdapter().parse(compiled, reply.text)
    except OutputsInvalid:
        return "recovered" if reply.kind == "cut off" else "refused"
    if reading.outputs == expected and not reading.truncated:
        return "recovered"
    if reading.truncated:
        return "recovered" if reply.kind == "cut off" else "refused"
    return "wrong, told" if reading.changes else "silently wrong"


# --- damages ---------------------------------------------------------------------------------------------------

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


def _in_strings(text: str, change: Callable[[str], str]) -> str:
    """``text`` with what stands between the quotes of its values changed."""
    return _STRING.sub(
        lambda found: found[0] if text[found.end() :].lstrip()[:1] == ":" else f'"{change(found[0][1:-1])}"', text
    )


def _outside_strings(text: str, pattern: str, replacement: str) -> str:
    parts = re.split(f"({_STRING.pattern})", text)
    return "".join(
        part if part.startswith('"') else re.sub(pattern, replacement, part) for part in parts if part is not None
    )


def _trailing_comma(text: str, values: Values, random: Random) -> str:
    return _outside_strings(text, r"(\s*[}\]])", r",\1")


def _single_quotes(text: str, values: Values, random: Random) -> str:
    def quoted(found: re.Match[str]) -> str:
        inner: str = json.loads(found[0])
        return "'" + json.dumps(inner, ensure_ascii=False)[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"

    return _STRING.sub(quoted, text)


def _comments(text: str, values: Values, random: Random) -> str:
    mark = random.choice((" // as asked\n", " # as asked\n", " /* as asked */ "))
    return _outside_strings(text, r",(?=\s)", f",{mark}")


def _unclosed(text: str, values: Values, random: Random) -> str:
    return text.rstrip().rstrip("}]").rstrip() if random.random() < 0.5 else text.rstrip()[:-1]


def _fence(text: str, values: Values, random: Random) -> str:
    return f"```{random.choice(('json', '', 'JSON'))}\n{text}\n```"


def _prose(text: str, values: Values, random: Random) -> str:
    before = random.choice(
        ("Sure! Here is the JSON you asked for:\n\n", "Result: ", "I've read it {carefully}.\n")
    )
    return before + text + random.choice(("\n\nLet me know if [anything] is unclear.", "", "\nHope that's ok!"))


def _python_literals(text: str, values: Values, random: Random) -> str:
    return repr(values)


def _unquoted_keys(text: str, values: Values, random: Random) -> str:
    return re.sub(r'"([A-Za-z_]\w*)"(\s*:)', r"\1\2", text)


def _missing_comma(text: str, values: Values, random: Random) -> str:
    text = json.dumps(values, indent=2, ensure_ascii=False)
    commas = [found.start() for found in re.finditer(r",\n", text)]
    if not commas:
        return text
    at = random.choice(commas)
    return text[:at] + text[at + 1 :]


def _raw_newlines(text: str, values: Values, random: Random) -> str:
    return _in_strings(text, lambda inner: inner.replace("\\n", "\n").replace("\\t", "\t"))


def _inner_quotes(text: str, values: Values, random: Random) -> str:
    return _in_strings(text, lambda inner: inner.replace('\\"', '"'))


def _smart_quotes(text: str, values: Values, random: Random) -> str:
    return _STRING.sub(lambda found: f"“{found[0][1:-1]}”", text)


def _wrong_escapes(text: str, values: Values, random: Random) -> str:
    return _in_strings(text, lambda inner: inner.replace("'", "\\'").replace("_", "\\_"))


def _double_encoded(text: str, values: Values, random: Random) -> str:
    return json.dumps(text)


def _thinking(text: str, values: Values, random: Random) -> str:
    first = json.dumps(dict.fromkeys(values))
    return f"<think>\nMaybe {first}? No, that isn't right.\n</think>\n\n{text}"


def _renamed_keys(text: str, values: Values, random: Random) -> str:
    names = {key: random.choice((key.title(), key.upper(), key.replace("_", " "))) for key in values}
    return json.dumps({names[key]: value for key, value in values.items()}, ensure_ascii=False)


def _numbers_as_text(text: str, values: Values, random: Random) -> str:
    return _outside_strings(text, r"(?<![\w.-])(-?\d+(?:\.\d+)?)(?=\s*[,}\]])", r'"\1"')


def _cut_off(text: str, values: Values, random: Random) -> str:
    end = len(text.rstrip().rstrip('}] \n\t"0123456789').rstrip()) - 1
    return text[: random.randint(max(2, end // 2), max(3, end))]


def _wrapped(text: str, values: Values, random: Random) -> str:
    return json.dumps(random.choice(({"output": values}, [values], {"json": values})), ensure_ascii=False)


def _doubled_braces(text: str, values: Values, random: Random) -> str:
    return "{" + text + "}"


def _literals_and_fence(text: str, values: Values, random: Random) -> str:
    return _prose(_fence(_python_literals(text, values, random), values, random), values, random)


def _commas_and_comments(text: str, values: Values, random: Random) -> str:
    return _comments(_trailing_comma(text, values, random), values, random)


def _keys_and_newlines(text: str, values: Values, random: Random) -> str:
    return _fence(_unquoted_keys(_raw_newlines(text, values, random), values, random), values, random)


DAMAGES: Final[dict[str, Damage]] = {
    "trailing comma": _trailing_comma,
    "single quotes": _single_quotes,
    "comments": _comments,
    "unclosed": _unclosed,
    "fence": _fence,
    "prose": _prose,
    "Python literals": _python_literals,
    "unquoted keys": _unquoted_keys,
    "missing comma": _missing_comma,
    "raw newlines": _raw_newlines,
    "inner quotes": _inner_quotes,
    "smart quotes": _smart_quotes,
    "wrong escapes": _wrong_escapes,
    "double encoded": _double_encoded,
    "thinking": _thinking,
    "renamed keys": _renamed_keys,
    "numbers as text": _numbers_as_text,
    "cut off": _cut_off,
    "wrapped": _wrapped,
    "doubled braces": _doubled_braces,
    "literals, fence and prose": _literals_and_fence,
    "commas and comments": _commas_and_comments,
    "keys and newlines": _keys_and_newlines,
}


@dataclass(frozen=True, slots=True)
class Tally:
    """Outcomes of a set of replies."""

    repair_rate: float
    silent_wrong: int
    by_kind: dict[str, dict[str, int]]


def tally(seed: int = SEED, count: int = REPLIES) -> Tally:
    """What becomes of ``count`` replies."""
    seen = [(reply.kind, outcome(reply)) for reply in replies(seed, count)]
    by_kind: dict[str, dict[str, int]] = {
        kind: dict(Counter(str(each) for other, each in seen if other == kind)) for kind in DAMAGES
    }
    recovered = sum(each == "recovered" for _, each in seen)
    return Tally(recovered / len(seen), sum(each == "silently wrong" for _, each in seen), by_kind)


def main() -> None:
    """Print the rate, and the replies that were not recovered."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    told = tally(options.seed)
    if options.json:
        print(
            json.dumps({"repair_rate": told.repair_rate, "silent_wrong": told.silent_wrong, "kinds": told.by_kind})
        )
    else:
        for reply in replies(options.seed):
            if (became := outcome(reply)) != "recovered":
                print(f"{reply.kind}: {became}\n  {reply.text!r}")
        print(f"repair_rate {told.repair_rate:.3f}, silent_wrong {told.silent_wrong}")
    sys.exit(told.repair_rate < 0.95 or told.silent_wrong > 0)


if __name__ == "__main__":
    main()
