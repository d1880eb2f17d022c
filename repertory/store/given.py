"""Rows of values handed to a statement as one parameter: a JSON list of lists.

With one parameter a statement is the same, and prepared once, for any number of rows.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, ColumnElement, Text, bindparam, cast, column, func, literal_column


@dataclass(frozen=True, slots=True)
class Given:
    """Each element of the parameter ``given``: a list, whose values have places."""

    element: ColumnElement[Any]
    path: str  # to a value, with {} for its place

    def __getitem__(self, place: int) -> ColumnElement[Any]:
        # In the statement's text: as parameters, these would be most of what it takes to execute it.
        value: ColumnElement[Any] = self.element[literal_column(self.path.format(place))]
        return value


def given(dialect: str) -> Given:
    """The parameter ``given`` of a statement for ``dialect``."""
    parameter = bindparam("given", type_=Text)
    if dialect == "sqlite":
        rows, path = func.json_each(parameter), "'$[{}]'"
    else:
        rows, path = func.json_array_elements(cast(parameter, JSON)), "{}"
    return Given(rows.table_valued(column("value", JSON), name="given").c.value, path)
