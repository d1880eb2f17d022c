"""History: the earlier turns of a conversation."""

from typing import Any, Final

from pydantic import Field

from repertory.signatures.type_registry import TYPES
from repertory.signatures.types.structure import Structure

MOST_TURNS: Final = 1_000


class History(Structure):
    """Earlier turns, oldest first: each has values of the signature's fields, inputs and outputs, by name.

    As an input it is not shown as a field: adapters show its turns as earlier messages.
    """

    messages: tuple[dict[str, Any], ...] = Field(default=(), max_length=MOST_TURNS)

    def with_turn(self, **fields: Any) -> "History":
        """The history with a further turn: values of fields by name."""
        return History(messages=(*self.messages, fields))

    def __len__(self) -> int:
        return len(self.messages)


TYPES.register("History", History)
