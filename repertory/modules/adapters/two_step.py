"""The two-step adapter: the model answers in its own words, then the outputs are taken out of them.

For models that reason well and keep to forms badly: the first question asks for no form at all; the second, which
a smaller model can be given, only reads. It costs two calls.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from repertory.modules.adapters.adapter import Adapter, Prompt
from repertory.modules.adapters.chat import ChatAdapter
from repertory.modules.adapters.field_text import described, field_text
from repertory.modules.adapters.stream import ReplyStream
from repertory.providers.lm import LM
from repertory.providers.messages import Message
from repertory.signatures import CompiledSignature
from repertory.signatures.reading import Reading

_EXTRACT = "Take the answer out of the text. Add nothing to it."


class TwoStepPrompt(Prompt):
    """The wording of the first question for one signature."""

    def __init__(self, compiled: CompiledSignature) -> None:
        super().__init__(compiled)
        asked = "\n".join(f"- {field.name}: {described(field)}" for field in compiled.outputs)
        self._asked = f"Your answer must say:\n{asked}"

    def system(self, instructions: str) -> str:
        """The task and what the answer must say, in no form."""
        return f"{instructions}\n\n{self._asked}"

    def question(self, inputs: Mapping[str, Any]) -> str:
        """Each input after its name."""
        return "\n\n".join(f"{name}: {field_text(value)}" for name, value in inputs.items())

    def answer(self, outputs: Mapping[str, Any]) -> str:
        """Each output after its name."""
        return self.question(outputs)

    def read(self, reply: str) -> Reading:
        """The outputs in the reply to the second question."""
        return ChatAdapter().parse(self.compiled, reply)

    def stream(self) -> ReplyStream:
        """Reads the reply to the second question as it comes."""
        return ChatAdapter().stream(self.compiled)


@dataclass(frozen=True, slots=True)
class TwoStepAdapter(Adapter):
    """Two calls: one to answer freely, one to take the outputs out of the answer.

    Args:
        reader: Who is asked the second question; None asks the model that answered the first.
    """

    reader: LM | None = None

    name: ClassVar[str] = "two_step"
    prompt_type: ClassVar[type[Prompt]] = TwoStepPrompt

    def extraction(self, compiled: CompiledSignature, answer: str) -> tuple[Message, ...]:
        """The second question: ``answer`` is what the model said to the first."""
        system = ChatAdapter().prompt(compiled).system(_EXTRACT)
        return Message("system", system), Message("user", answer)
