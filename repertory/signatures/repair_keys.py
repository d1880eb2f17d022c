"""The key of an object where one is due: in quotes of any kind, with one of them missing, or bare."""

import re
from dataclasses import dataclass
from typing import Final

from repertory.signatures.repair_text import QUOTES, unescaped

_BARE_KEY: Final = re.compile(r"""([^\s"'“”{}\[\]():=,;`][^"'“”{}\[\]():=,;\n`]{0,60}?)["'”’]?\s*(:(?!//)|=>?)""")
_UNCLOSED_KEY: Final = re.compile(r"""["'“]([^\W\d][\w-]{0,60})\s*:\s""")
_PLAIN_KEY: Final = re.compile(
    r"""(?:
    (")((?:[^"\\\n]|\\.){0,200})"
    |(')((?:[^'"\\\n]|\\.){0,200})'
    |([“”„«])([^"“”„«»\\\n]{0,200})["”“»]
    |(["'“”„‘’`«])([^"'“”„‘’`«»\\\n]{0,200})["'”“’`»]
    )\s*(?=[:=])""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Key:
    """A key, where what follows it stands, and what was wrong with it."""

    name: str
    end: int
    damage: str = ""


def quoted_key(text: str, at: int) -> Key | None:
    """The key in quotes at ``at``, if a colon or an equals sign follows; without its closing quote, if need be.

    Raises:
        Unreadable: It contains half of a surrogate pair.
    """
    if plain := _PLAIN_KEY.match(text, at):
        quote, name = filter(lambda group: group is not None, plain.groups())
        return Key(unescaped(name)[0], plain.end(), "" if quote == '"' else f"{quote} as a quote")
    if unclosed := _UNCLOSED_KEY.match(text, at):
        return Key(unclosed[1], unclosed.end(1), f"the key `{unclosed[1]}` as if its quote were closed")
    return None


def bare_key(text: str, at: int) -> Key | None:
    """The words at ``at`` that a colon or an equals sign makes a key."""
    if bare := _BARE_KEY.match(text, at):
        return Key(bare[1].strip(), bare.end(1) + (text[bare.end(1)] in QUOTES), "keys without quotes")
    return None
