"""The chat adapter: each field under a marker of its own, ``[[ ## name ## ]]``, in text.

The markers are DSPy's, so that demonstrations and replies interchange with it; the words around them are ours.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from repertory.modules.adapters.adapter import Adapter, Prompt
from repertory.modules.adapters.field_text import field_text
from repertory.signatures import CompiledSignature, FieldSpec
from repertory.signatures.changes import Change
from repertory.signatures.reading import Reading

COMPLETED: Final = "completed"
_MARKER: Final = re.compile(r"\[\[[ \t]*##[ \t]*(\w+)[ \t]*##[ \t]*\]\]")


def marker(name: str) -> str:
    """What stands above the value of field ``name``."""
    return f"[[ ## {name} ## ]]"


class ChatPrompt(Prompt):
    """The chat adapter's wording for one signature."""

    def __init__(self, compiled: CompiledSignature) -> None:
        super().__init__(compiled)
        self._names = frozenset(field.name for field in compiled.outputs)
        outputs = [f"{marker(field.name)}\n{{{_described(field)}}}" for field in compiled.outputs]
        self._form = "\n\n".join([*outputs, marker(COMPLETED)])
        self._inputs = "".join(f"\n{marker(field.name)}: {field.desc}" for field in compiled.inputs if field.desc)

    def system(self, instructions: str) -> str:
        """The task and the form of the answer."""
        return f"{instructions}{self._inputs}\n\nReply in this form:\n\n{self._form}"

    def question(self, inputs: Mapping[str, Any]) -> str:
        """Each input under its marker."""
        return "\n\n".join(f"[[ ## {name} ## ]]\n{field_text(value)}" for name, value in inputs.items())

    def answer(self, outputs: Mapping[str, Any]) -> str:
        """Each output under its marker, and the marker of the end."""
        return f"{self.question(outputs)}\n\n[[ ## completed ## ]]"

    def read(self, reply: str) -> Reading:
        """The sections of ``reply``; of two of one name the first. Without any, the JSON object that it holds."""
        texts: dict[str, str] = {}
        changes: list[Change] = []
        markers = [found for found in _MARKER.finditer(reply) if found[1] in self._names or found[1] == COMPLETED]
        if not any(found[1] in self._names for found in markers):
            return self._read_without_markers(reply)
        if reply[: markers[0].start()].strip():
            changes.append(Change("repair", "", "past the words before the first field"))
        for found, ended in zip(markers, [*(each.start() for each in markers[1:]), len(reply)], strict=True):
            name, text = found[1], reply[found.end() : ended].strip()
            if name == COMPLETED:
                if text and ended == len(reply):
                    changes.append(Change("repair", "", "past the words after the end"))
            elif name not in texts:
                texts[name] = text
            elif text:
                changes.append(Change("repair", name, "the first of several values"))
        return self.compiled.reader.from_texts(texts, tuple(changes))

    def _read_without_markers(self, reply: str) -> Reading:
        reader = self.compiled.reader
        if "{" in reply or len(self._names) > 1:
            told = Change("repair", "", "JSON in place of marked fields")
            reading = reader.from_json(reply)
            return replace(reading, changes=(told, *reading.changes))
        (name,) = self._names
        text = reply.replace(marker(COMPLETED), "").strip()
        return reader.from_texts({name: text}, (Change("repair", name, "the whole reply as the one output"),))


class ChatAdapter(Adapter):
    """Fields under DSPy's markers. For every model that can chat; needs nothing of the endpoint."""

    name: ClassVar[str] = "chat"
    prompt_type: ClassVar[type[Prompt]] = ChatPrompt


def _described(field: FieldSpec) -> str:
    return f"{field.type_hint}: {field.desc}" if field.desc else field.type_hint
