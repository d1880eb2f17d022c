"""Rows of values handed to a statement as one parameter: a JSON list of lists.

With one parameter a statement is the same, and prepared once, for any number of rows.
"""

from typing import Any

from sqlalchemy import JSON, ColumnElement, Text, bindparam, cast, column, func


def given(dialect: str) -> ColumnElement[Any]:
    """Each element of the parameter ``given``."""
    parameter = bindparam("given", type_=Text)
    # The one thing that the two databases call by different names.
    rows = func.json_each(parameter) if dialect == "sqlite" else func.json_array_elements(cast(parameter, JSON))
    return rows.table_valued(column("value", JSON), name="given").c.value
