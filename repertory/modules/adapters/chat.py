"""The chat adapter: each field under a marker of its own, ``[[ ## name ## ]]``, in text.

The markers are DSPy's, so that demonstrations and replies interchange with it; the words around them are ours.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from repertory.modules.adapters.adapter import Adapter, Prompt
from repertory.modules.adapters.field_text import described, field_text
from repertory.modules.adapters.stream import FieldEvent, ReplyStream, Section
from repertory.signatures import CompiledSignature
from repertory.signatures.changes import Change
from repertory.signatures.reading import Reading

COMPLETED: Final = "completed"
_SPACE: Final = r"[ \t]{0,8}"
_BEGUN: Final = re.compile(  # what may yet become a marker
    rf"\[(?:\[{_SPACE}(?:#(?:#{_SPACE}(?:\w+{_SPACE}(?:#(?:#{_SPACE}\]?)?)?)?)?)?)?\Z"
)
_FRAME: Final = 40  # characters of a marker beside the name, at most


def marker(name: str) -> str:
    """What stands above the value of field ``name``."""
    return f"[[ ## {name} ## ]]"


class ChatPrompt(Prompt):
    """The chat adapter's wording for one signature."""

    def __init__(self, compiled: CompiledSignature) -> None:
        super().__init__(compiled)
        self.names = tuple(field.name for field in compiled.outputs)
        listed = "|".join(map(re.escape, (*self.names, COMPLETED)))
        self.marker: Final = re.compile(rf"\[\[{_SPACE}##{_SPACE}({listed}){_SPACE}##{_SPACE}\]\]")
        outputs = [f"{marker(field.name)}\n{{{described(field)}}}" for field in compiled.outputs]
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
        markers = list(self.marker.finditer(reply))
        if all(found[1] == COMPLETED for found in markers):
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
        reading = self.compiled.reader.from_texts(texts, tuple(changes))
        return reading if markers[-1][1] == COMPLETED else replace(reading, open_ended=True)

    def stream(self) -> ReplyStream:
        """Reads one reply as it comes."""
        return _ChatStream(self)

    def _read_without_markers(self, reply: str) -> Reading:
        reader = self.compiled.reader
        if "{" in reply or len(self.names) > 1:
            told = Change("repair", "", "JSON in place of marked fields")
            reading = reader.from_json(reply)
            return replace(reading, changes=(told, *reading.changes))
        (name,) = self.names
        text = reply.replace(marker(COMPLETED), "").strip()
        reading = reader.from_texts({name: text}, (Change("repair", name, "the whole reply as the one output"),))
        return replace(reading, open_ended=True)


class _ChatStream(ReplyStream):
    """Invariant: ``_rest`` is the end of the text so far that may yet be part of a marker."""

    def __init__(self, prompt: ChatPrompt) -> None:
        super().__init__(prompt.compiled)
        self._prompt = prompt
        self._rest = ""
        self._section: Section | None = None
        self._seen: set[str] = set()
        self._held = _FRAME + max(map(len, (*prompt.names, COMPLETED)))

    def _told(self, text: str) -> Iterable[FieldEvent]:
        text, at = self._rest + text, 0
        for found in self._prompt.marker.finditer(text):
            yield from self._ended(text[at : found.start()])
            if found[1] != COMPLETED and found[1] not in self._seen:
                self._section = Section(found[1])
                self._seen.add(found[1])
            at = found.end()
        begun = _BEGUN.search(text, max(at, len(text) - self._held))
        rest = len(text) if begun is None else begun.start()
        if self._section is not None:
            yield from self._section.add(text[at:rest])
        self._rest = text[rest:]

    def _ended(self, text: str) -> Iterable[FieldEvent]:
        if self._section is not None:
            yield from self._section.add(text)
            yield from self._section.end(self._compiled)
            self._section = None

    def _read(self, reply: str) -> Reading:
        return self._prompt.read(reply)


class ChatAdapter(Adapter):
    """Fields under DSPy's markers. For every model that can chat; needs nothing of the endpoint."""

    name: ClassVar[str] = "chat"
    prompt_type: ClassVar[type[Prompt]] = ChatPrompt
