"""The BAML adapter: as the JSON adapter, the answer's shape shown as an outline on several lines.

For outputs that are nested: the outline takes a fraction of the tokens of a JSON schema, and small models follow
it better than one long line.
"""

from typing import Any, ClassVar

from repertory.modules.adapters.adapter import Prompt
from repertory.modules.adapters.json_object import JSONAdapter, JSONPrompt
from repertory.signatures import CompiledSignature
from repertory.signatures.schema_outline import schema_outline


class BAMLPrompt(JSONPrompt):
    """The BAML adapter's wording for one signature."""

    def __init__(self, compiled: CompiledSignature) -> None:
        super().__init__(compiled)
        properties: dict[str, Any] = {
            field.name: {**compiled.output_schema["properties"][field.name], "description": field.desc}
            for field in compiled.outputs
        }
        outline = schema_outline({**compiled.output_schema, "properties": properties})
        self._form = f"Reply with a JSON object in this schema:\n{outline}"


class BAMLAdapter(JSONAdapter):
    """One JSON object, its shape told in BAML's manner. For deeply nested outputs."""

    name: ClassVar[str] = "baml"
    prompt_type: ClassVar[type[Prompt]] = BAMLPrompt
