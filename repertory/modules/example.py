"""Examples: inputs together with the outputs that are right for them."""

from typing import Any

from repertory.modules.record import Record


class Example(Record):
    """A labelled example.

    ```python
    Example(article="Shares fell ...", topic="business").topic
    ```
    """

    __slots__ = ()

    def __init__(self, **values: Any) -> None:
        super().__init__(values)

    def replace(self, **values: Any) -> "Example":
        """This example with some values exchanged or added."""
        return Example(**{**self, **values})
