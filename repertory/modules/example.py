"""Examples: inputs together with the outputs that are right for them."""

from collections.abc import Iterator, Mapping
from typing import Any


class Example(Mapping[str, Any]):
    """A labelled example: field values by name, read as items or attributes.

    ```python
    Example(article="Shares fell ...", topic="business").topic
    ```
    """

    __slots__ = ("_values",)

    def __init__(self, **values: Any) -> None:
        self._values = values

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copy and pickle look for methods before there are values
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"the example has no {name!r}; it has {', '.join(self._values)}") from None

    def __repr__(self) -> str:
        return f"Example({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"

    def replace(self, **values: Any) -> "Example":
        """This example with some values exchanged or added."""
        return Example(**{**self._values, **values})
