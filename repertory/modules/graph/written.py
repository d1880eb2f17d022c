"""Links as a definition writes them: ``document``, ``facts.facts``, ``facts.items[0].name``."""

import re
from collections.abc import Collection
from difflib import get_close_matches

from repertory.errors import ConfigError
from repertory.modules.graph.links import Constant, Link, Step, Value, several
from repertory.modules.pending import Attribute, Key

VALUE = "value"
"""The one key of a table that stands for a constant, such as ``{ value = "a text" }``."""

_NAME = re.compile(r"[^\W\d]\w*")
_STEP = re.compile(
    r"""\.(?P<name>[^\W\d]\w*)|\[(?P<position>\d+)\]|\[(?P<quote>["'])(?P<key>[^"']*)(?P=quote)\]"""
)


def read_value(written: object, nodes: Collection[str], inputs: Collection[str]) -> Value:
    """What ``written`` stands for: a text is a link, also inside of lists and tables; anything else is itself.

    Raises:
        ConfigError: A link cannot be read, or leads to what is neither a node nor an input.
    """
    if isinstance(written, str):
        return _read_link(written, nodes, inputs)
    if isinstance(written, dict) and list(written) == [VALUE]:
        return Constant(written[VALUE])
    if isinstance(written, dict):
        return several(dict, [(key, read_value(part, nodes, inputs)) for key, part in written.items()])
    if isinstance(written, list):
        return several(list, [(key, read_value(part, nodes, inputs)) for key, part in enumerate(written)])
    return Constant(written)


def _read_link(text: str, nodes: Collection[str], inputs: Collection[str]) -> Link:
    head, steps = _read_steps(text)
    if head in inputs:
        return Link(None, (Key(head), *steps))
    if head not in nodes:
        known = [*inputs, *nodes]
        near = get_close_matches(head, known, n=1)
        meant = f"Did you mean {near[0]!r}? " if near else f"There are: {', '.join(known)}. "
        raise ConfigError(
            f"{text!r} leads to neither an input nor a node",
            hint=f"{meant}For the text itself, write {{ value = {text!r} }}.",
        )
    if not steps:
        return Link(head, ())
    field, *inside = steps
    if isinstance(field, int):
        raise ConfigError(f"{text!r} names no field of {head}", hint=f"Write {head}.FIELD, and then [{field}].")
    return Link(head, (Key(field), *inside))


def _read_steps(text: str) -> tuple[str, list[Step]]:
    found = _NAME.match(text)
    if found is None:
        raise _unreadable(text)
    head, place = found[0], found.end()
    steps: list[Step] = []
    while place < len(text):
        step = _STEP.match(text, place)
        if step is None:
            raise _unreadable(text)
        if step["name"] is not None:
            steps.append(Attribute(step["name"]))
        else:
            steps.append(int(step["position"]) if step["position"] is not None else Key(step["key"]))
        place = step.end()
    return head, steps


def _unreadable(text: str) -> ConfigError:
    return ConfigError(
        f"{text!r} is no link",
        hint=f"Write INPUT or NODE.FIELD, such as facts.facts[0]; for the text itself, {{ value = {text!r} }}.",
    )
