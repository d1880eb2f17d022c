"""The XML adapter: each field between tags of its name, as models that were trained on tags like it.

The tags are DSPy's XMLAdapter's. What stands between them is text and is not escaped: a value ends at its own
closing tag, and tags of any other name within it belong to it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from repertory.modules.adapters.adapter import Adapter, Prompt
from repertory.modules.adapters.field_text import described, field_text
from repertory.modules.adapters.stream import FieldEvent, ReplyStream, Section
from repertory.signatures import CompiledSignature
from repertory.signatures.changes import Change
from repertory.signatures.reading import Reading


class XMLPrompt(Prompt):
    """The XML adapter's wording for one signature."""

    def __init__(self, compiled: CompiledSignature) -> None:
        super().__init__(compiled)
        self.names = tuple(field.name for field in compiled.outputs)
        self.opening = re.compile(f"<({'|'.join(map(re.escape, self.names))})>")
        self._form = "\n".join(
            f"<{field.name}>\n{{{described(field)}}}\n</{field.name}>" for field in compiled.outputs
        )
        self._inputs = "".join(f"\n<{field.name}>: {field.desc}" for field in compiled.inputs if field.desc)

    def system(self, instructions: str) -> str:
        """The task and the form of the answer."""
        return f"{instructions}{self._inputs}\n\nReply in this form:\n\n{self._form}"

    def question(self, inputs: Mapping[str, Any]) -> str:
        """Each input between its tags."""
        return "\n\n".join(f"<{name}>\n{field_text(value)}\n</{name}>" for name, value in inputs.items())

    def answer(self, outputs: Mapping[str, Any]) -> str:
        """Each output between its tags."""
        return self.question(outputs)

    def read(self, reply: str) -> Reading:
        """What stands between the tags; of two of one name the first. Without any tags, the JSON object."""
        texts: dict[str, str] = {}
        changes: list[Change] = []
        at, unclosed = 0, ""
        while (found := self.opening.search(reply, at)) is not None:
            name, closing = found[1], f"</{found[1]}>"
            if reply[at : found.start()].strip():
                changes.append(Change("repair", "", f"past the words before <{name}>"))
            end = reply.find(closing, found.end())
            if end == -1:
                unclosed, end = name, len(reply)
                changes.append(Change("repair", name, "up to the end, as its tag is not closed"))
            if name not in texts:
                texts[name] = reply[found.end() : end].strip()
            else:
                changes.append(Change("repair", name, "the first of several values"))
            at = min(end + len(closing), len(reply))
        if not texts:
            reading = self.compiled.reader.from_json(reply)
            return replace(
                reading, changes=(Change("repair", "", "JSON in place of tagged fields"), *reading.changes)
            )
        if reply[at:].strip():
            changes.append(Change("repair", "", "past the words after the end"))
        reading = self.compiled.reader.from_texts(texts, tuple(changes))
        return replace(reading, open_ended=True) if unclosed else reading

    def stream(self) -> ReplyStream:
        """Reads one reply as it comes."""
        return _XMLStream(self)


class _XMLStream(ReplyStream):
    """Invariant: ``_rest`` is the end of the text so far that may yet be part of the tag that is waited for."""

    def __init__(self, prompt: XMLPrompt) -> None:
        super().__init__(prompt.compiled)
        self._prompt = prompt
        self._tags = tuple(f"<{name}>" for name in prompt.names)
        self._rest = ""
        self._inside = ""  # the name of the tag that is open
        self._section: Section | None = None  # where what is inside is wanted
        self._seen: set[str] = set()

    def _told(self, text: str) -> Iterable[FieldEvent]:
        text, at = self._rest + text, 0
        while True:
            if self._inside:
                closing = f"</{self._inside}>"
                end = text.find(closing, at)
                if end == -1:
                    rest = _begun(text, at, (closing,))
                    if self._section is not None:
                        yield from self._section.add(text[at:rest])
                    break
                yield from self._ended(text[at:end])
                at = end + len(closing)
            else:
                found = self._prompt.opening.search(text, at)
                if found is None:
                    rest = _begun(text, at, self._tags)
                    break
                self._inside, at = found[1], found.end()
                if found[1] not in self._seen:
                    self._seen.add(found[1])
                    self._section = Section(found[1])
        self._rest = text[rest:]

    def _ended(self, text: str) -> Iterable[FieldEvent]:
        self._inside = ""
        if self._section is not None:
            yield from self._section.add(text)
            yield from self._section.end(self._compiled)
            self._section = None

    def _read(self, reply: str) -> Reading:
        return self._prompt.read(reply)


def _begun(text: str, at: int, tags: tuple[str, ...]) -> int:
    """Where one of ``tags`` begins that ``text`` does not hold to its end; else the end of ``text``."""
    start = text.rfind("<", max(at, len(text) - max(map(len, tags))))
    begun = start != -1 and any(tag.startswith(text[start:]) for tag in tags)
    return start if begun else len(text)


class XMLAdapter(Adapter):
    """Fields between tags. For models that write tags more reliably than markers or JSON."""

    name: ClassVar[str] = "xml"
    prompt_type: ClassVar[type[Prompt]] = XMLPrompt
