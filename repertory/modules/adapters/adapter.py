"""Adapters: how a signature becomes messages to a model, and a reply becomes outputs.

An adapter is a pair of pure functions, ``format`` and ``parse``. What they need of a signature is worked out
once, in a `Prompt`, and kept with the compiled signature.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, get_args

from repertory.modules.adapters.stream import ReplyStream
from repertory.providers.messages import Content, MediaPart, Message, SchemaDialect, TextPart
from repertory.signatures import CompiledSignature
from repertory.signatures.reading import Reading
from repertory.signatures.schemas import JsonSchema
from repertory.signatures.types import History, Media, MediaCollector
from repertory.signatures.types.media import COLLECTOR


class Prompt(ABC):
    """One adapter's wording for one compiled signature.

    Texts of values come in as ``Mapping[str, str]``, by field name, in the signature's order.
    """

    def __init__(self, compiled: CompiledSignature) -> None:
        self.compiled = compiled
        self.histories = tuple(field.name for field in compiled.inputs if _may_be_history(field.annotation))

    @abstractmethod
    def system(self, instructions: str) -> str:
        """The task and the form of the answer."""

    @abstractmethod
    def question(self, inputs: Mapping[str, Any]) -> str:
        """The inputs (as JSON-able Python, all or some) of one question."""

    @abstractmethod
    def answer(self, outputs: Mapping[str, Any]) -> str:
        """The reply that would give these outputs (as JSON-able Python, all or some)."""

    @abstractmethod
    def read(self, reply: str) -> Reading:
        """The outputs that ``reply`` gives. Raises OutputsInvalid naming the field."""

    @abstractmethod
    def stream(self) -> ReplyStream:
        """A reader of one reply that comes in pieces."""


class Adapter(ABC):
    """Base of adapters. They hold no state of a call: one instance serves any number of signatures at a time."""

    name: ClassVar[str]
    """What configurations and traces call it."""

    prompt_type: ClassVar[type[Prompt]]

    constrains: ClassVar[bool] = False
    """Whether replies are the JSON of the outputs, which an endpoint may constrain to a schema."""

    def prompt(self, compiled: CompiledSignature) -> Prompt:
        """The wording for ``compiled``, made on first use and kept with it."""
        return compiled.derived(self.prompt_type)

    def format(
        self,
        compiled: CompiledSignature,
        demos: Iterable[Mapping[str, Any]],
        inputs: Mapping[str, Any],
        *,
        instructions: str | None = None,
    ) -> tuple[Message, ...]:
        """The messages that ask for the outputs.

        Args:
            compiled: The signature.
            demos: Examples to show first, each with some inputs and outputs.
            inputs: Validated inputs.
            instructions: The task in words, instead of the signature's own.
        """
        return (*self.preamble(compiled, demos, instructions=instructions), *self.question(compiled, inputs))

    def preamble(
        self, compiled: CompiledSignature, demos: Iterable[Mapping[str, Any]], *, instructions: str | None = None
    ) -> tuple[Message, ...]:
        """What comes before the question; the same for every question with these demonstrations."""
        prompt = self.prompt(compiled)
        task = compiled.instructions if instructions is None else instructions
        messages = [Message("system", prompt.system(task))]
        for demo in demos:
            messages.extend(self.question(compiled, demo))
            messages.append(self.answer(compiled, demo))
        return tuple(messages)

    def question(self, compiled: CompiledSignature, inputs: Mapping[str, Any]) -> tuple[Message, ...]:
        """The inputs as a message; before it the turns of a `History` among them, as messages of their own."""
        prompt = self.prompt(compiled)
        known = {field.name: inputs[field.name] for field in compiled.inputs if field.name in inputs}
        earlier = [turn for name in prompt.histories for turn in self._turns(compiled, known.pop(name, None))]
        collector = MediaCollector()
        text = prompt.question(compiled.dump_inputs(known, {COLLECTOR: collector}))
        content: Content = (TextPart(text), *map(_part, collector.media)) if collector.media else text
        return (*earlier, Message("user", content))

    def _turns(self, compiled: CompiledSignature, history: object) -> Iterator[Message]:
        for turn in history.messages if isinstance(history, History) else ():
            if any(field.name in turn for field in compiled.inputs):
                yield from self.question(compiled, turn)
            if any(field.name in turn for field in compiled.outputs):
                yield self.answer(compiled, turn)

    def answer(self, compiled: CompiledSignature, values: Mapping[str, Any]) -> Message:
        """The outputs among ``values`` as the model would have replied them."""
        outputs = {field.name: values[field.name] for field in compiled.outputs if field.name in values}
        return Message("assistant", self.prompt(compiled).answer(compiled.dump_outputs(outputs)))

    def parse(self, compiled: CompiledSignature, reply: str) -> Reading:
        """The typed outputs in ``reply``, and what had to be changed in order to read them.

        Raises:
            OutputsInvalid: Naming the output that is missing or wrong.
        """
        return self.prompt(compiled).read(reply)

    def stream(self, compiled: CompiledSignature) -> ReplyStream:
        """A reader of one reply that comes in pieces; in the end it says what ``parse`` says of the whole."""
        return self.prompt(compiled).stream()

    def response_schema(self, compiled: CompiledSignature, dialect: SchemaDialect | None) -> JsonSchema | None:
        """The schema to constrain the reply to, in the endpoint's dialect.

        None where the endpoint does not constrain, the reply is not JSON, or the dialect cannot say an output's
        type (``compiled.provider_schema(dialect).obstacles``); the reply is then read and validated all the same.
        """
        return compiled.provider_schema(dialect).schema if self.constrains and dialect is not None else None


def _may_be_history(annotation: Any) -> bool:
    return annotation is History or any(map(_may_be_history, get_args(annotation)))


def _part(medium: Media) -> MediaPart:
    return MediaPart(medium.kind, medium.media_type, medium.data, medium.url, medium.name)


def correction(reason: str) -> Message:
    """What the model is told about a reply that cannot be used."""
    return Message("user", f"That reply cannot be used: {reason}. Reply again, in the same form.")
