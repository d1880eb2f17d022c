"""The JSON adapter: inputs as labelled text, outputs as one JSON object.

The order of things (task, then the answer's shape, then demonstrations as earlier turns) keeps the beginning of
the prompt the same from call to call, which is what providers' prompt caches reward.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from repertory.modules.adapters.adapter import Adapter, Prompt
from repertory.modules.adapters.field_text import field_text
from repertory.modules.adapters.json_stream import JSONStream
from repertory.modules.adapters.stream import ReplyStream
from repertory.signatures import CompiledSignature
from repertory.signatures.json_text import dump_json
from repertory.signatures.reading import Reading


class JSONPrompt(Prompt):
    """The JSON adapter's wording for one signature."""

    def __init__(self, compiled: CompiledSignature) -> None:
        super().__init__(compiled)
        fields = [
            f'"{field.name}": {field.type_hint}' + (f" ({field.desc})" if field.desc else "")
            for field in compiled.outputs
        ]
        self._form: str = "Reply with a JSON object: {" + ", ".join(fields) + "}"

    def system(self, instructions: str) -> str:
        """The task and the shape of the answer."""
        return f"{instructions}\n\n{self._form}"

    def question(self, inputs: Mapping[str, Any]) -> str:
        """Each input on a line of its own, after its name."""
        return "\n".join(f"{name}: {field_text(value)}" for name, value in inputs.items())

    def answer(self, outputs: Mapping[str, Any]) -> str:
        """The outputs as one JSON object."""
        return dump_json(outputs).decode()

    def read(self, reply: str) -> Reading:
        """The JSON object in ``reply``; prose or a code fence around it is passed over."""
        return self.compiled.reader.from_json(reply)

    def stream(self) -> ReplyStream:
        """Reads one reply as it comes."""
        return JSONStream(self.compiled, self.read)


class JSONAdapter(Adapter):
    """One JSON object. The choice wherever the endpoint constrains replies to a schema."""

    name: ClassVar[str] = "json"
    prompt_type: ClassVar[type[Prompt]] = JSONPrompt
    constrains: ClassVar[bool] = True
