"""Rows: records of a data file, checked against the program that is to answer them."""

import asyncio
import csv
import os
import stat
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias

import anyio.to_thread

from repertory.errors import ConfigError, InputError
from repertory.runtime.records import MAX_RECORD_BYTES, CSVSplitter, LineSplitter, Record
from repertory.signatures import CompiledSignature
from repertory.signatures.json_text import load_json

Format: TypeAlias = Literal["jsonl", "csv"]

CHUNK = 65_536  # bytes read at a time
GROUP = 256  # rows handed on at a time, at most


@dataclass(frozen=True, slots=True)
class Row:
    """One row the program can answer.

    Attributes:
        line: Its first line in the data, from 1.
        id: The row's own ``id``, or its line number.
        inputs: Validated inputs.
        expected: The right answer, where a column of expected answers was named.
    """

    line: int
    id: str | int
    inputs: dict[str, Any]
    expected: Any = None


@dataclass(frozen=True, slots=True)
class Reject:
    """One row that cannot be answered, and why.

    Attributes:
        line: Its first line in the data, from 1.
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
            return self._row(record.line, values) if values is not None else None
        except InputError as error:
            if self._format == "csv" and self._columns is None:
                raise ConfigError(
                    f"the CSV header {error.reason}", hint="Its first line must name the columns, in UTF-8."
                ) from None
            return Reject(record.line, error.field, error.reason, error.hint)

    def _row(self, line: int, values: dict[str, Any]) -> Row:
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
        return Row(line, id, self._compiled.validate_inputs(values), expected)

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
    source: Path | Literal["-"], reader: RowReader, format: Format, *, limit: int | None = None
) -> AsyncGenerator[list[Row | Reject], None]:
    """The rows of a file or of standard input in groups, as they become available, in constant memory.

    Raises ConfigError if the source cannot be read.
    """
    splitter = LineSplitter() if format == "jsonl" else CSVSplitter()
    remaining = limit
    async with aclosing(_chunks(source)) as chunks, aclosing(_records(chunks, splitter)) as groups:
        async for records in groups:
            rows = (row for record in records if (row := reader.read(record)) is not None)
            while group := list(islice(rows, GROUP if remaining is None else min(GROUP, remaining))):
                yield group
                if remaining is not None:
                    remaining -= len(group)
            if remaining == 0:
                return


async def _records(
    chunks: AsyncGenerator[bytes, None], splitter: LineSplitter | CSVSplitter
) -> AsyncGenerator[Iterator[Record], None]:
    async for data in chunks:
        yield splitter.feed(data)
    yield splitter.finish()


def count_lines(source: Path | Literal["-"]) -> int | None:
    """How many lines a file has; None if only reading them all would tell. Raises ConfigError if it cannot be."""
    if source == "-" and sys.stdin is None:
        raise ConfigError("standard input is closed", hint="Pipe rows into it, or name a file.")
    if source == "-" or source.is_fifo() or source.is_char_device():
        return None
    lines, last = 0, b"\n"
    with _open(source) as file:
        try:
            while piece := file.read(1 << 20):
                lines += piece.count(b"\n")
                last = piece
        except OSError as error:
            raise _unreadable(source, error) from None
    return lines + (not last.endswith(b"\n"))


def format_of(source: Path | Literal["-"]) -> Format:
    """The format a file's name tells; standard input is JSON lines. Raises ConfigError for another ending."""
    if source == "-":
        return "jsonl"
    match source.suffix.lower():
        case ".jsonl" | ".ndjson" | ".json":
            return "jsonl"
        case ".csv":
            return "csv"
    raise ConfigError(
        f"{source}: its name does not tell the format", hint="Use a .jsonl or .csv file, or pass --format."
    )


async def _chunks(source: Path | Literal["-"]) -> AsyncGenerator[bytes, None]:
    """Pieces of the source as they become available."""
    stream = sys.stdin.buffer if source == "-" else _open(source)
    try:
        if _trickles(stream):
            async with aclosing(_piped(stream.fileno())) as pieces:
                async for piece in pieces:
                    yield piece
            return
        while data := await anyio.to_thread.run_sync(stream.read, CHUNK):
            yield data
    except OSError as error:
        raise _unreadable(source, error) from None
    finally:
        if source != "-":
            stream.close()


def _open(source: Path) -> BinaryIO:
    def opener(path: str, flags: int) -> int:
        return os.open(path, flags | os.O_NONBLOCK)  # a named pipe without a writer must not hold up the loop

    try:
        return open(source, "rb", opener=opener)
    except FileNotFoundError:
        raise ConfigError(f"{source}: no such file", hint="Check the path; - is standard input.") from None
    except OSError as error:
        raise _unreadable(source, error) from None


def _trickles(stream: BinaryIO) -> bool:
    """Whether bytes come when somebody writes them; a file or /dev/null has them all, or none, at once."""
    mode = os.fstat(stream.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stream.isatty()


async def _piped(descriptor: int) -> AsyncGenerator[bytes, None]:
    """Pieces of a pipe or terminal, read without a thread: one that waits for input could not be ended."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(descriptor), "rb", 0)
    )
    try:
        while data := await reader.read(CHUNK):
            yield data
    finally:
        transport.close()
        os.set_blocking(descriptor, True)  # the shell shares it


def _unreadable(source: object, error: OSError) -> ConfigError:
    return ConfigError(f"{source}: cannot be read: {error.strerror}", hint="Check that it is a readable file.")
