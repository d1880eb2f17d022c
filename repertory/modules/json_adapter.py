"""The JSON adapter: inputs as labelled text, outputs as one JSON object.

Both directions are pure functions of the compiled signature. The order of things (task, then answer's shape,
then demonstrations as earlier turns) keeps the beginning of the prompt the same from call to call, which is
what providers' prompt caches reward.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from repertory.errors import OutputsInvalid, ReplyError
from repertory.modules.json_text import dump_json
from repertory.providers.messages import LMResponse, Message
from repertory.signatures import CompiledSignature


class JSONAdapter:
    """Formats prompts and parses replies for one compiled signature."""

    def __init__(self, compiled: CompiledSignature) -> None:
        self._compiled = compiled
        self._answer_shape = _answer_shape(compiled)

    def system_message(self, instructions: str | None) -> Message:
        """The task and the shape of the answer."""
        task = self._compiled.instructions if instructions is None else instructions
        return Message("system", f"{task}\n\n{self._answer_shape}")

    def demo_messages(self, demos: Iterable[Mapping[str, Any]]) -> tuple[Message, ...]:
        """Each demonstration as a question and its answer; fields a demonstration lacks are left out."""
        messages = []
        for demo in demos:
            answer = {field.name: demo[field.name] for field in self._compiled.outputs if field.name in demo}
            messages.append(Message("user", self._question(demo)))
            messages.append(Message("assistant", _json(self._compiled.dump_outputs(answer))))
        return tuple(messages)

    def question_message(self, inputs: Mapping[str, Any]) -> Message:
        """The question itself."""
        return Message("user", self._question(inputs))

    def parse(self, response: LMResponse) -> dict[str, object]:
        """The typed outputs in a reply; prose or a code fence around the JSON object is passed over.

        Raises ReplyError, with the raw reply, naming the field that is missing or wrong.
        """
        text = response.text
        try:
            return self._compiled.validate_outputs_json(text)
        except OutputsInvalid as error:
            fault = error
        first, last = text.find("{"), text.rfind("}")
        if 0 <= first < last and (first, last) != (0, len(text) - 1):
            try:
                return self._compiled.validate_outputs_json(text[first : last + 1])
            except OutputsInvalid as error:
                fault = error
        raise _reply_error(fault, response)

    def _question(self, values: Mapping[str, Any]) -> str:
        written = self._compiled.dump_inputs(
            {field.name: values[field.name] for field in self._compiled.inputs if field.name in values}
        )
        return "\n".join(
            f"{name}: {value if isinstance(value, str) else _json(value)}" for name, value in written.items()
        )


def _answer_shape(compiled: CompiledSignature) -> str:
    fields = [
        f'"{field.name}": {field.type_hint}' + (f" ({field.desc})" if field.desc else "")
        for field in compiled.outputs
    ]
    return "Reply with a JSON object: {" + ", ".join(fields) + "}"


def _reply_error(fault: OutputsInvalid, response: LMResponse) -> ReplyError:
    if response.finish_reason == "length":
        hint = "The reply was cut off at the token limit: raise max_tokens, or ask for less."
    elif response.finish_reason == "refusal":
        hint = "The model refused. Its words are in `reply`."
    else:
        hint = "The raw reply is in `reply`. Demonstrations, or a model that constrains its output, help."
    where = f"output {fault.field!r}: " if fault.field else ""
    return ReplyError(f"{where}{fault.reason}", field=fault.field, reply=response.text, hint=hint)


def _json(value: object) -> str:
    return dump_json(value).decode()
