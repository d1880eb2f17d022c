"""The trace of a prediction: what happened between the question and its outputs, step by step."""

from dataclasses import dataclass
from typing import TypeAlias

from repertory.signatures.changes import Change


@dataclass(frozen=True, slots=True)
class CheckFailed:
    """Outputs did not pass a check of the signature.

    Attributes:
        check: The check's name.
        message: What the check says is wrong.
        required: Whether the reply was refused for it; if not, the outputs were taken all the same.
    """

    check: str
    message: str
    required: bool

    def __str__(self) -> str:
        return f"check {self.check}: {self.message}"


@dataclass(frozen=True, slots=True)
class AskedAgain:
    """A reply could not be used, and the model was asked once more, with the reason.

    Attributes:
        field: The output that was wrong; "" for the reply as a whole, or a check.
        reason: What the model was told.
        reply: The reply that could not be used.
    """

    field: str
    reason: str
    reply: str

    def __str__(self) -> str:
        return f"asked again: {self.reason}"


TraceEntry: TypeAlias = Change | CheckFailed | AskedAgain
