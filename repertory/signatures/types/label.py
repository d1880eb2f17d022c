"""Labels: one of several classes, with how likely each was."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema, core_schema

from repertory.errors import SignatureError
from repertory.signatures.coercion_scalars import shown
from repertory.signatures.type_registry import TYPES, TypeMark
from repertory.signatures.types.numbers import Probability
from repertory.signatures.types.parametrised import Arguments, Parametrised, values_of
from repertory.signatures.types.structure import Structure

_EXACT: Final = 1e-6  # how far from 1 the sum of a distribution may be
_HEAVIEST: Final = 1e6
_NEAR: Final = 0.1  # how far it may be to be taken for one that was rounded


class Label(Structure, Parametrised[Arguments]):
    """The class that was chosen. ``Label["spam", "ham"]`` admits these alone.

    Attributes:
        name: The class.
        distribution: How likely each class is; empty if that was not asked for. It sums to 1 and has ``name`` as
            its likeliest, or one of these.
    """

    name: str = Field(min_length=1)
    distribution: dict[str, Probability] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> "Label":
        if not self.distribution:
            return self
        total = math.fsum(self.distribution.values())
        if abs(total - 1) > _EXACT:
            raise ValueError(f"the distribution sums to {total:.6g}, not to 1")
        if self.distribution.get(self.name) != max(self.distribution.values()):
            raise ValueError(f"{self.name!r} is not the likeliest of the distribution")
        return self

    @property
    def probability(self) -> float | None:
        """How likely ``name`` is; None without a distribution."""
        return self.distribution.get(self.name)

    def __str__(self) -> str:
        return self.name

    def __class_getitem__(cls, names: object) -> Any:
        given = values_of(names)
        if not given or not all(isinstance(name, str) and name for name in given) or len(set(given)) < len(given):
            raise SignatureError(
                f"Label[{', '.join(map(repr, given))}]: its arguments are the names of classes, each once",
                hint='Write Label["spam", "ham"].',
            )
        return Annotated[cls, _Names(given), TypeMark("Label", given)]


@dataclass(frozen=True, slots=True)
class _Names:
    """Restricts a label to some classes."""

    names: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        whole = handler.resolve_ref_schema(handler(core))
        properties = {**whole["properties"], "name": {"enum": list(self.names), "type": "string"}}
        return {**whole, "properties": properties}

    def _checked(self, label: Label) -> Label:
        for name in (label.name, *label.distribution):
            if name not in self.names:
                raise ValueError(f"{name!r} is none of {', '.join(self.names)}")
        return label


def coerce_label(value: object) -> tuple[object, str]:
    """A bare name, a bare distribution, or a distribution that was rounded or written in percent.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(value, str):
        return {"name": value.strip(), "distribution": {}}, f"{shown(value)} as a label"
    if not isinstance(value, dict):
        raise ValueError(f"{shown(value)} is no label")
    if "name" not in value and value and all(map(_is_number, value.values())):
        return _weighed(None, value)
    distribution = value.get("distribution", {})
    if isinstance(distribution, dict) and distribution and all(map(_is_number, distribution.values())):
        weighed, told = _weighed(value.get("name"), distribution)
        return {**value, **weighed}, told  # what else it holds is not a label's, and is refused
    if distribution is None:
        return {**value, "distribution": {}}, "no distribution as none"
    return value, ""


def _weighed(name: object, weights: dict[str, Any]) -> tuple[dict[str, object], str]:
    total = math.fsum(weights.values())
    scale = next((scale for scale in (1.0, 100.0) if abs(total / scale - 1) <= _NEAR), None)
    if scale is None or min(weights.values()) < 0:
        raise ValueError(f"weights that sum to {total:.6g} are no distribution")
    likeliest = max(weights, key=lambda each: weights[each])
    chosen = name if isinstance(name, str) and weights.get(name) == weights[likeliest] else likeliest
    told = []
    if name is None:
        told.append(f"a bare distribution as the label {chosen!r}")
    elif name != chosen:
        told.append(f"{shown(name)} as {chosen!r}, the likeliest")
    if abs(total - 1) > _EXACT:
        told.append(f"weights that sum to {total:.6g} as shares of 1")
        weights = {each: weight / total for each, weight in weights.items()}
    return {"name": chosen, "distribution": weights}, "; ".join(told)


def _is_number(value: object) -> bool:
    """Whether ``value`` may be a weight; more digits than a float has are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _HEAVIEST


def rate_label(label: Label) -> float:
    """How clearly the label leads: its probability less the next one's; 1 if it stands without a distribution."""
    if not label.distribution:
        return 1.0
    first, *others = sorted(label.distribution.values(), reverse=True)
    return first - others[0] if others else first


TYPES.register("Label", Label, coerce=coerce_label, quality=rate_label)
