"""Embeddings: vectors of fixed, finite numbers."""

import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from repertory.errors import ConfigError, SignatureError
from repertory.signatures.coercion_scalars import left_out, shown
from repertory.signatures.type_registry import TYPE_KEYWORD, TYPES, TypeMark
from repertory.signatures.types.parametrised import Arguments, Parametrised, values_of

if TYPE_CHECKING:
    from numpy import float64
    from numpy.typing import NDArray

MOST_DIMENSIONS: Final = 10_000


class Embedding(Parametrised[Arguments]):
    """1 to 10,000 finite numbers, not all zero. ``Embedding[768]`` admits this many alone.

    Raises ValueError for others.
    """

    __slots__ = ("_values",)

    registered_as: ClassVar[str] = "Embedding"

    def __init__(self, values: Iterable[float]) -> None:
        self._values = array("d", values)
        if not 1 <= len(self._values) <= MOST_DIMENSIONS:
            raise ValueError(f"{len(self._values)} dimensions: an embedding has 1 to {MOST_DIMENSIONS:,}")
        if not all(map(math.isfinite, self._values)):
            position = next(n for n, each in enumerate(self._values) if not math.isfinite(each))
            raise ValueError(f"dimension {position} is {self._values[position]}: an embedding is finite")
        if not any(self._values):
            raise ValueError("all dimensions are zero: an embedding has a direction")

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self) -> Iterator[float]:
        return iter(self._values)

    def __getitem__(self, index: int) -> float:
        return self._values[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Embedding) and self._values == other._values

    def __hash__(self) -> int:
        return hash(self._values.tobytes())

    def __repr__(self) -> str:
        return f"<Embedding of {len(self)} dimensions>"

    @property
    def norm(self) -> float:
        """The Euclidean length, above 0; ``inf`` if it is beyond floating point."""
        return math.hypot(*self._values)

    def cosine(self, other: "Embedding") -> float:
        """How alike the directions are, from -1 to 1.

        Raises:
            ValueError: The other one has another number of dimensions.
        """
        if len(self) != len(other):
            raise ValueError(f"embeddings of {len(self)} and {len(other)} dimensions cannot be compared")
        # Scaled by the largest: squares of very large or very small numbers are beyond floating point.
        mine, theirs = (max(map(abs, each)) for each in (self, other))
        pairs = [(a / mine, b / theirs) for a, b in zip(self, other, strict=True)]
        product = math.fsum(a * b for a, b in pairs)
        lengths = math.hypot(*(a for a, _ in pairs)) * math.hypot(*(b for _, b in pairs))
        return min(max(product / lengths, -1.0), 1.0)

    def numpy(self) -> "NDArray[float64]":
        """A read-only NumPy view of the numbers, not a copy.

        Raises:
            ConfigError: NumPy is not installed.
        """
        try:
            import numpy
        except ImportError:
            raise ConfigError("numpy is not installed", hint="pip install numpy") from None
        view = numpy.frombuffer(self._values, dtype=numpy.float64)
        view.flags.writeable = False
        return view

    def __class_getitem__(cls, dimensions: object) -> Any:
        match values_of(dimensions):
            case [int() as count] if 1 <= count <= MOST_DIMENSIONS:
                return Annotated[cls, _Dimensions(count), TypeMark("Embedding", (count,))]
        raise SignatureError(
            f"Embedding[{dimensions!r}]: its argument is the number of dimensions",
            hint=f"Write a whole number from 1 to {MOST_DIMENSIONS:,}, such as Embedding[768].",
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        numbers = core_schema.no_info_after_validator_function(
            cls, core_schema.list_schema(core_schema.float_schema(), max_length=MOST_DIMENSIONS)
        )
        return core_schema.json_or_python_schema(
            json_schema=numbers,
            python_schema=core_schema.union_schema([core_schema.is_instance_schema(cls), numbers]),
            serialization=core_schema.plain_serializer_function_ser_schema(list),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {
            "type": "array",
            "items": {"type": "number"},
            "minItems": 1,
            "maxItems": MOST_DIMENSIONS,
            TYPE_KEYWORD: cls.registered_as,
        }


@dataclass(frozen=True, slots=True)
class _Dimensions:
    """Restricts an embedding to one number of dimensions."""

    count: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core), "minItems": self.count, "maxItems": self.count}

    def _checked(self, embedding: Embedding) -> Embedding:
        if len(embedding) != self.count:
            raise ValueError(f"{len(embedding)} dimensions, where {self.count} are wanted")
        return embedding


def coerce_embedding(value: object) -> tuple[object, str]:
    """What an API wraps around a vector: ``{"embedding": [...]}``. Raises ValueError for anything else."""
    if isinstance(value, list):
        return value, ""
    if isinstance(value, dict):
        for name in ("embedding", "vector", "values"):
            if isinstance(value.get(name), list):
                return value[name], "; ".join([f"what is in `{name}`", *left_out(value, (name,))])
    raise ValueError(f"{shown(value)} is no embedding")


def rate_embedding(embedding: Embedding) -> float:
    """A heuristic: the share of dimensions that are not zero."""
    return sum(map(bool, embedding)) / len(embedding)


TYPES.register("Embedding", Embedding, coerce=coerce_embedding, quality=rate_embedding)
