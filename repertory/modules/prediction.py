"""Predictions: a module's typed outputs, and what they cost."""

from collections.abc import Iterator, Mapping
from typing import Any

from repertory.providers.messages import Usage


class Prediction(Mapping[str, Any]):
    """Output values by field name, read as items or attributes.

    Attributes:
        usage: Tokens over all calls made for it.
        lm_calls: Calls to language models made for it.
        parameters_version: Version of the predictor's parameters that were used; 0 outside a runtime and for
            predictions made of several.
    """

    __slots__ = ("_values", "lm_calls", "parameters_version", "usage")

    def __init__(
        self,
        values: Mapping[str, Any] | None = None,
        /,
        *,
        usage: Usage | None = None,
        lm_calls: int = 0,
        parameters_version: int = 0,
        **more: Any,
    ) -> None:
        self._values = {**(values or {}), **more}
        self.usage = usage or Usage()
        self.lm_calls = lm_calls
        self.parameters_version = parameters_version

    @property
    def outputs(self) -> dict[str, Any]:
        """The values, as a dict of their own."""
        return dict(self._values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"the prediction has no {name!r}; it has {', '.join(self._values)}") from None

    def __repr__(self) -> str:
        return f"Prediction({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"
