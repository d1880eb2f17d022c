"""Changes: what was done to a value between the reply and the output it became, told one by one.

Nothing is mended in silence: whoever reads a reply leniently returns, beside the value, the changes it made.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

ChangeKind: TypeAlias = Literal["repair", "coercion"]


@dataclass(frozen=True, slots=True)
class Change:
    """One change that was made in order to read a value.

    Attributes:
        kind: ``"repair"``: the text was damaged JSON; ``"coercion"``: the value was of another type.
        field: Where: an output's name, dotted where nested (``items.0.price``); "" for the reply as a whole.
        reason: What was done, as words that complete "read ...": ``"'87%' as 0.87"``.
    """

    kind: ChangeKind
    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.field}: read {self.reason}" if self.field else f"read {self.reason}"
