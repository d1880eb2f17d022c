"""Parquet: the rows of such a file, a few at a time, as plain Python values.

The format is https://parquet.apache.org/docs/file-format; pyarrow (extra ``parquet``) reads it, loaded on first
use.
"""

from collections.abc import AsyncGenerator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import anyio.to_thread

from repertory.errors import ConfigError, InputError
from repertory.runtime.records import MAX_RECORD_BYTES
from repertory.runtime.sources import Source

BATCH_ROWS: Final = 256  # rows decoded at a time, at most
BATCH_BYTES: Final = 1_048_576  # bytes they have on average, at most
BUFFER: Final = 65_536  # bytes read ahead of each column; without, pyarrow reads all that a row group has of it


@dataclass(frozen=True, slots=True)
class Cells:
    """One row as it stands in the file.

    Attributes:
        number: Its number, from 1.
        values: Its cells by column, or why it cannot be read.
        size: About how many bytes they have.
    """

    number: int
    values: dict[str, Any] | InputError
    size: int


class ParquetRows:
    """Reads a Parquet file from its first row to its last.

    Invariant: it holds one batch of rows, however large the file's row groups are; of each column, beside that, a
    page and its dictionary. What a cell holds that Python has no value for is a fault of its row alone.

    Its methods block: call them in a thread.

    Raises:
        ConfigError: pyarrow is missing, or the file is none that it can read.
    """

    def __init__(self, source: Source) -> None:
        self._source = _seekable(source)
        self._arrow, parquet = _pyarrow()
        try:
            self._file = parquet.ParquetFile(
                self._source, buffer_size=BUFFER, pre_buffer=False, page_checksum_verification=True
            )
        except (self._arrow.ArrowException, OSError) as error:
            raise ConfigError(
                f"{self._source}: cannot be read as Parquet: {_first_line(error)}",
                hint="Check the file, or name its format with --format.",
            ) from None
        names = self._file.schema_arrow.names
        if twice := [name for name in names if names.count(name) > 1]:
            self.close()
            raise ConfigError(
                f"{self._source}: has the column {twice[0]!r} twice",
                hint="Rename one of them, and write the file anew.",
            )
        self.count: int = self._file.metadata.num_rows
        self._read = 0
        self._batches = self._file.iter_batches(_batch_rows(self._file.metadata), use_threads=False)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self) -> list[Cells]:
        """The next rows, none at the end. Raises ConfigError if the file is damaged."""
        try:
            batch = next((batch for batch in self._batches if batch.num_rows), None)
        except (self._arrow.ArrowException, OSError) as error:
            raise ConfigError(
                f"{self._source}: cannot be read after row {self._read}: {_first_line(error)}",
                hint="The file is damaged: write it anew.",
            ) from None
        if batch is None:
            return []
        names = batch.schema.names
        columns = [self._column(name, array) for name, array in zip(names, batch.columns, strict=True)]
        rows = (dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True))
        first, self._read = self._read + 1, self._read + batch.num_rows
        average = batch.nbytes // batch.num_rows
        weigh = batch.nbytes > MAX_RECORD_BYTES  # else none of them is too long
        return [
            _cells(number, values, _weight(values) if weigh else average)
            for number, values in enumerate(rows, start=first)
        ]

    def _column(self, name: str, array: Any) -> list[Any]:
        """The cells of a column; an InputError in place of one that cannot be read."""
        array = self._without_nanoseconds(array)
        unreadable = (self._arrow.ArrowException, ValueError, KeyError, ArithmeticError)
        try:
            cells: list[Any] = array.to_pylist(maps_as_pydicts="strict")
        except unreadable:
            cells = []
            for cell in array:
                try:
                    cells.append(cell.as_py(maps_as_pydicts="strict"))
                except unreadable as error:
                    cells.append(InputError(name, f"cannot be read: {_first_line(error)}"))
        return cells

    def _without_nanoseconds(self, array: Any) -> Any:
        """Cut times to microseconds: Python has no finer ones, pandas' are there only where it is installed."""
        arrow, kind = self._arrow, array.type
        if arrow.types.is_timestamp(kind) and kind.unit == "ns":
            return array.cast(arrow.timestamp("us", tz=kind.tz), safe=False)
        if arrow.types.is_time64(kind) and kind.unit == "ns":
            return array.cast(arrow.time64("us"), safe=False)
        if arrow.types.is_duration(kind) and kind.unit == "ns":
            return array.cast(arrow.duration("us"), safe=False)
        return array


async def parquet_cells(source: Source) -> AsyncGenerator[list[Cells], None]:
    """The rows of a Parquet file in groups. Raises ConfigError if it cannot be read."""
    with closing(await anyio.to_thread.run_sync(ParquetRows, source)) as rows:
        while group := await anyio.to_thread.run_sync(rows.read):
            yield group


def count_rows(source: Source) -> int:
    """How many rows a Parquet file has. Raises ConfigError if it cannot be read."""
    with closing(ParquetRows(source)) as rows:
        return rows.count


def _seekable(source: Source) -> Path:
    if source == "-" or source.is_fifo() or source.is_char_device():
        what = "standard input" if source == "-" else str(source)
        raise ConfigError(
            f"{what}: Parquet cannot be read from a pipe, as its directory is at the end",
            hint="Save it as a file and name that, or pipe JSON lines.",
        )
    if not source.exists():
        raise ConfigError(f"{source}: no such file", hint="Check the path.")
    if not source.is_file():
        raise ConfigError(f"{source}: is not a file", hint="Name one Parquet file.")
    return source


def _pyarrow() -> tuple[ModuleType, ModuleType]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"Parquet needs the package {error.name}", hint="Run: pip install 'repertory[parquet]'"
        ) from error
    return pyarrow, pyarrow.parquet


def _batch_rows(metadata: Any) -> int:
    """How many rows to decode at a time, by the longest average of a row group."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    longest = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=1)
    return int(min(BATCH_ROWS, max(1, BATCH_BYTES // max(1, longest))))


def _cells(number: int, values: dict[str, Any], size: int) -> Cells:
    if size > MAX_RECORD_BYTES:
        return Cells(number, InputError("", f"longer than {MAX_RECORD_BYTES} bytes"), size)
    for value in values.values():
        if isinstance(value, InputError):
            return Cells(number, value, size)
    return Cells(number, values, size)


def _weight(value: object) -> int:
    """About how many bytes a value has."""
    match value:
        case str() | bytes():
            return len(value)
        case dict():
            return sum(_weight(key) + _weight(part) for key, part in value.items())
        case list():
            return sum(map(_weight, value))
        case _:
            return 8


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
