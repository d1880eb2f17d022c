"""Records: values by field name, read as items or as attributes."""

from collections.abc import Iterator, Mapping
from typing import Any


class Record(Mapping[str, Any]):
    """A read-only mapping whose items are attributes too, where no attribute of its own has the name."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # copy and pickle look for methods before there are values
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            kind, has = type(self).__name__.lower(), ", ".join(self._values)
            raise AttributeError(f"the {kind} has no {name!r}; it has {has}") from None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._values.items())})"
