"""Rows: records of a data file, checked against the program that is to answer them."""

import csv
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from repertory.errors import ConfigError, InputError
from repertory.runtime.parquet import Cells, parquet_cells
from repertory.runtime.records import MAX_RECORD_BYTES, CSVSplitter, LineSplitter, Record
from repertory.runtime.sources import Format, Source, pieces_of
from repertory.signatures import CompiledSignature
from repertory.signatures.json_text import load_json

GROUP = 256  # rows handed on at a time, at most


@dataclass(frozen=True, slots=True)
class Row:
    """One row the program can answer.

    Attributes:
        line: Its first line in the data, from 1; of a Parquet file, its number.
        id: The row's own ``id``, or ``line``.
        inputs: Validated inputs.
        expected: The right answer, where a column of expected answers was named.
        size: Bytes it was read from.
    """

    line: int
    id: str | int
    inputs: dict[str, Any]
    expected: Any = None
    size: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Reject:
    """One row that cannot be answered, and why.

    Attributes:
        line: As a row's.
        field: The field at fault; "" for the row as a whole.
        reason: What is wrong, in words.
        hint: What to do about it.
    """

    line: int
    field: str
    reason: str
    hint: str | None = None


class RowReader:
    """Turns records into rows or rejects.

    Args:
        compiled: The program's signature.
        expect: Name of the column with the right answers; it is not handed to the program.
    """

    def __init__(self, compiled: CompiledSignature, format: Format, *, expect: str | None = None) -> None:
        self._compiled = compiled
        self._format = format
        self._expect = expect
        self._columns: list[str] | None = None  # CSV: the header
        # Of the whole process, but the csv module has no other: records are bounded here, cells not once more.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_RECORD_BYTES))
        self._takes_id = any(field.name == "id" for field in compiled.inputs)

    def read(self, record: Record) -> Row | Reject | None:
        """The row in ``record``; None for the header of a CSV file."""
        if record.text is None:
            return Reject(record.line, "", f"longer than {MAX_RECORD_BYTES} bytes")
        if not record.text.strip():
            return Reject(record.line, "", "empty line")
        try:
            values = self._json(record.text) if self._format == "jsonl" else self._csv(record.text)
            return self._row(record.line, values, len(record.text)) if values is not None else None
        except InputError as error:
            if self._format == "csv" and self._columns is None:
                raise ConfigError(
                    f"the CSV header {error.reason}", hint="Its first line must name the columns, in UTF-8."
                ) from None
            return Reject(record.line, error.field, error.reason, error.hint)

    def read_all(self, records: Iterable[Record]) -> Iterator[Row | Reject]:
        """The rows in ``records``."""
        return (row for record in records if (row := self.read(record)) is not None)

    def read_cells(self, cells: Cells) -> Row | Reject:
        """The row in ``cells``."""
        try:
            if isinstance(cells.values, InputError):
                raise cells.values
            return self._row(cells.number, cells.values, cells.size)
        except InputError as error:
            return Reject(cells.number, error.field, error.reason, error.hint)

    def _row(self, line: int, values: dict[str, Any], size: int) -> Row:
        id: Any = line
        if not self._takes_id and "id" in values:
            id = values.pop("id")
            if isinstance(id, bool) or not isinstance(id, str | int):
                raise InputError("id", f"is {type(id).__name__}, not a string or an integer")
        expected = None
        if self._expect is not None:
            if self._expect not in values:
                raise InputError(self._expect, "the expected answer is missing")
            expected = values.pop(self._expect)
        return Row(line, id, self._compiled.validate_inputs(values), expected, size)

    def _json(self, text: bytes) -> dict[str, Any]:
        try:
            values = load_json(text)
        except ValueError as error:
            raise InputError("", f"is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise InputError("", f"is {type(values).__name__}, not an object")
        return values

    def _csv(self, text: bytes) -> dict[str, Any] | None:
        try:
            cells = next(csv.reader([text.decode()], strict=True))
        except UnicodeDecodeError:
            raise InputError("", "is not UTF-8") from None
        except csv.Error as error:
            raise InputError("", f"is not CSV: {error}") from None
        if self._columns is None:
            if twice := [name for name, times in Counter(cells).items() if times > 1]:
                raise ConfigError(
                    f"the CSV header names the column {twice[0]!r} twice", hint="Rename one of them."
                )
            self._columns = cells
            return None
        if len(cells) != len(self._columns):
            raise InputError("", f"has {len(cells)} cells, the header has {len(self._columns)}")
        return dict(zip(self._columns, cells, strict=True))


async def read_rows(
    source: Source, reader: RowReader, format: Format, *, limit: int | None = None
) -> AsyncGenerator[list[Row | Reject], None]:
    """The rows of a file or of standard input in groups, as they become available, in constant memory.

    Raises ConfigError if the source cannot be read.
    """
    remaining = limit
    async with aclosing(_rows(source, reader, format)) as groups:
        async for rows in groups:
            while group := list(islice(rows, GROUP if remaining is None else min(GROUP, remaining))):
                yield group
                if remaining is not None:
                    remaining -= len(group)
            if remaining == 0:
                return


async def _rows(source: Source, reader: RowReader, format: Format) -> AsyncGenerator[Iterator[Row | Reject], None]:
    if format == "parquet":
        async with aclosing(parquet_cells(source)) as groups:
            async for cells in groups:
                yield map(reader.read_cells, cells)
        return
    splitter = LineSplitter() if format == "jsonl" else CSVSplitter()
    async with aclosing(pieces_of(source)) as pieces:
        async for data in pieces:
            yield reader.read_all(splitter.feed(data))
    yield reader.read_all(splitter.finish())
