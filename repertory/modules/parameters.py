"""A predictor's parameters: what may change about it without a change of code."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Parameters(BaseModel):
    """An immutable snapshot.

    Attributes:
        instructions: The task in words; None: the signature's own.
        demos: Examples shown to the model, field values by name; in the order shown.
        lm: Name of the language model among those of the runtime.
        temperature: Sampling temperature; None leaves it to the endpoint.
        max_tokens: Most tokens a reply may have; None leaves it to the endpoint.
        corrections: Most times a reply that cannot be used is sent back with what is wrong with it.
        dspy: What DSPy saved for this predictor, as it was; only `Module.dump_dspy_state` reads it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    instructions: str | None = None
    demos: tuple[dict[str, Any], ...] = ()
    lm: str = "default"
    temperature: float | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    corrections: int = Field(default=1, ge=0)
    dspy: dict[str, Any] | None = None
