"""What is spilled of runs: large values in events, inputs and outputs, in pieces that the store keeps once.

An event names those of its members that were spilled, ``"spilled": ["inputs"]``; a run's inputs and outputs have
``{"$spilled": ...}`` around them. So a value that happens to look like a reference to a content is not taken for
one, and what was written before there were contents is read as it stands.
"""

from collections.abc import Mapping
from typing import Any, Final

from repertory.signatures.json_text import dump_json, load_json
from repertory.store.content_reader import ContentReader
from repertory.store.contents import Spiller

PLAIN: Final = 1024  # bytes of JSON up to which an event, or a run's inputs, are left as they are
MEMBERS: Final = ("inputs", "outputs", "replies", "value", "parameters")  # of events: those that may be large
ERROR: Final = "error"  # this one only within: whoever reads the log must see that there is one, and its code
MARK: Final = "spilled"
AROUND: Final = "$spilled"


class RunSpiller:
    """Divides what is recorded of one run, in one life of it; see `Spiller` for why no other may share it."""

    __slots__ = ("_spiller",)

    def __init__(self) -> None:
        self._spiller: Spiller | None = None  # most runs need none

    def event(self, data: Mapping[str, Any], text: bytes) -> tuple[str, dict[str, bytes] | None]:
        """An event's ``data``, whose JSON is ``text``, and the contents that have to be in the store with it."""
        if len(text) <= PLAIN:
            return text.decode(), None
        contents: dict[str, bytes] = {}
        kept = {name: self._divided(value, contents) for name, value in data.items() if name in MEMBERS}
        if error := data.get(ERROR):
            kept[ERROR] = {name: self._divided(value, contents) for name, value in error.items()}
        spilled = [name for name, value in kept.items() if value != data[name]]
        if not spilled:
            return text.decode(), None
        return dump_json({**data, **kept, MARK: spilled}).decode(), contents

    def values(self, text: str) -> tuple[str, dict[str, bytes] | None]:
        """Inputs or outputs of a run, given as JSON, likewise."""
        if len(text) <= PLAIN and AROUND not in text:
            return text, None
        contents: dict[str, bytes] = {}
        return dump_json({AROUND: self._divided(load_json(text), contents)}).decode(), contents

    def _divided(self, value: Any, contents: dict[str, bytes]) -> Any:
        """What stands for ``value``; what that refers to comes into ``contents``."""
        if self._spiller is None:
            self._spiller = Spiller()
        part = self._spiller.spill(value)
        contents |= part.contents
        return part.data


async def whole_event(data: dict[str, Any], reader: ContentReader) -> dict[str, Any]:
    """An event's data as it was before it was spilled. Raises StoreError if something of it is missing."""
    if MARK not in data:
        return data
    spilled = data.pop(MARK)
    return data | {name: await reader.restore(data[name]) for name in spilled}


async def whole_values(text: str, reader: ContentReader) -> str:
    """Inputs or outputs of a run, as JSON, likewise."""
    values = load_json(text) if text.startswith(f'{{"{AROUND}":') else None
    return text if values is None else dump_json(await reader.restore(values[AROUND])).decode()


def outline(text: str) -> dict[str, Any]:
    """Inputs or outputs of a run as far as they can be told without a look into the store."""
    values: dict[str, Any] = load_json(text)
    inside: dict[str, Any] = values.get(AROUND, values)
    return inside
