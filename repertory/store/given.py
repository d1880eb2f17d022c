"""Rows of values handed to a statement as one parameter: a JSON list of lists.

With one parameter a statement is the same, and prepared once, for any number of rows.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, ColumnElement, Text, bindparam, cast, column, func, literal_column, select


@dataclass(frozen=True, slots=True)
class Given:
    """Each element of a JSON text: a list, whose values have places."""

    element: ColumnElement[Any]
    path: str  # to a value, with {} for its place

    def __getitem__(self, place: int) -> ColumnElement[Any]:
        # In the statement's text: as parameters, these would be most of what it takes to execute it.
        value: ColumnElement[Any] = self.element[literal_column(self.path.format(place))]
        return value


def given(dialect: str, text: ColumnElement[str] | None = None, *, apart: bool = False) -> Given:
    """The rows in ``text``, in a statement for ``dialect``; None: in its parameter ``given``.

    Args:
        apart: Whether they are read by a query of their own, which SQLite does not merge with the statement's as
            it has a limit: the JSON of a row is then made once, otherwise anew for each of its values.
    """
    if text is None:
        text = bindparam("given", type_=Text)
    if dialect == "sqlite":
        rows, path = func.json_each(text), "'$[{}]'"
    else:
        rows, path = func.json_array_elements(cast(text, JSON)), "{}"
    elements = rows.table_valued(column("value", JSON), name="given")
    if apart:
        alone = select(elements.c.value).limit(literal_column("-1")).offset(literal_column("0"))
        return Given(alone.subquery("given").c.value, path)
    return Given(elements.c.value, path)
