"""Reasoning: as text, and as a chain of steps."""

import re
from typing import Annotated, Final, TypeAlias

from pydantic import Field

from repertory.signatures.coercion_scalars import shown
from repertory.signatures.type_registry import TYPES, TypeMark
from repertory.signatures.types.structure import Structure

Reasoning: TypeAlias = Annotated[str, Field(min_length=1), TypeMark("Reasoning")]
"""The model's thinking as text; not empty."""

MOST_STEPS: Final = 50
_STEP: Final = re.compile(r"^[ \t]*(?:step[ \t]+)?(\d{1,3})[.):][ \t]*", re.IGNORECASE | re.MULTILINE)
_PART: Final = re.compile(
    r"^[ \t]*(thought|action|observation)(?:[ \t]*\d{1,3})?[ \t]*:[ \t]*", re.IGNORECASE | re.MULTILINE
)


class ReasoningStep(Structure):
    """One step: what the model thought, what it did then, and what came of it."""

    thought: str = Field(min_length=1)
    action: str | None = None
    observation: str | None = None


class ReasoningChain(Structure):
    """1 to 50 steps, in order."""

    steps: tuple[ReasoningStep, ...] = Field(min_length=1, max_length=MOST_STEPS)

    def __len__(self) -> int:
        return len(self.steps)

    def __str__(self) -> str:
        return "\n".join(f"{number}. {step.thought}" for number, step in enumerate(self.steps, 1))


def coerce_reasoning(value: object) -> tuple[object, str]:
    """A list of thoughts as lines of text. Raises ValueError for anything but text."""
    if isinstance(value, str):
        return value, ""
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return "\n".join(value), f"a list of {len(value)} texts as lines"
    raise ValueError(f"{shown(value)} is no reasoning")


def coerce_chain(value: object) -> tuple[object, str]:
    """Numbered text, text with ``Thought:``, ``Action:``, ``Observation:``, or a list, as a chain of steps.

    Raises:
        ValueError: It is none of these.
    """
    told = ""
    if isinstance(value, str):
        steps = _steps_in(value)
        value, told = {"steps": steps}, f"a text as {len(steps)} steps"
    elif isinstance(value, list):
        value, told = {"steps": value}, f"a list of {len(value)} as the steps"
    if not isinstance(value, dict) or not isinstance(value.get("steps"), list):
        raise ValueError(f"{shown(value)} is no chain of reasoning")
    return value, told


def coerce_step(value: object) -> tuple[object, str]:
    """A bare text as a thought. Raises ValueError for anything but text or an object."""
    if isinstance(value, str) and value.strip():
        return {"thought": value.strip(), "action": None, "observation": None}, "a text as a thought"
    if isinstance(value, dict):
        return value, ""
    raise ValueError(f"{shown(value)} is no step")


def _steps_in(text: str) -> list[dict[str, str | None]]:
    parts = list(_PART.finditer(text))
    if parts:
        steps: list[dict[str, str | None]] = []
        for part, end in zip(parts, [*(each.start() for each in parts[1:]), len(text)], strict=True):
            kind, said = part[1].casefold(), text[part.end() : end].strip()
            if kind == "thought" or not steps or steps[-1][kind] is not None:
                steps.append({"thought": said if kind == "thought" else "", "action": None, "observation": None})
            if kind != "thought":
                steps[-1][kind] = said
        return steps
    marks = list(_STEP.finditer(text))
    pieces = [
        text[mark.end() : end].strip()
        for mark, end in zip(marks, [*(each.start() for each in marks[1:]), len(text)], strict=True)
    ]
    thoughts = [piece for piece in pieces if piece] or [text.strip()]
    return [{"thought": thought, "action": None, "observation": None} for thought in thoughts if thought]


def rate_chain(chain: ReasoningChain) -> float:
    """A heuristic: the share of steps that say something no earlier step said."""
    return len({" ".join(step.thought.casefold().split()) for step in chain.steps}) / len(chain.steps)


TYPES.register("Reasoning", Reasoning, coerce=coerce_reasoning)
TYPES.register("ReasoningStep", ReasoningStep, coerce=coerce_step)
TYPES.register("ReasoningChain", ReasoningChain, coerce=coerce_chain, quality=rate_chain)
