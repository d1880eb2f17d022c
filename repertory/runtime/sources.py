"""Sources of rows: what a file's name tells of it, and its bytes as they become available."""

import asyncio
import os
import stat
import sys
import zlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

import anyio.to_thread

from repertory.errors import ConfigError

Format: TypeAlias = Literal["jsonl", "csv", "parquet"]
Source: TypeAlias = Path | Literal["-"]  # "-" is standard input

CHUNK = 65_536  # bytes read at a time

_FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}


def format_of(source: Source) -> Format:
    """The format a file's name tells; standard input is JSON lines. Raises ConfigError for another ending."""
    if source == "-":
        return "jsonl"
    name = source.with_suffix("") if _is_gzipped(source) else source
    if (format := _FORMATS.get(name.suffix.lower())) is not None:
        return format
    raise ConfigError(
        f"{source}: its name does not tell the format",
        hint="Use a .jsonl, .csv or .parquet file (or .jsonl.gz, .csv.gz), or pass --format.",
    )


def count_lines(source: Source) -> int | None:
    """How many lines a file has; None if only reading them all would tell. Raises ConfigError if it cannot be."""
    if source == "-" and sys.stdin is None:
        raise ConfigError("standard input is closed", hint="Pipe rows into it, or name a file.")
    if source == "-" or source.is_fifo() or source.is_char_device():
        return None
    lines, last = 0, b"\n"
    with _open(source) as file:
        if _is_gzipped(source):
            return None
        try:
            while piece := file.read(1 << 20):
                lines += piece.count(b"\n")
                last = piece
        except OSError as error:
            raise _unreadable(source, error.strerror) from None
    return lines + (not last.endswith(b"\n"))


async def pieces_of(source: Source) -> AsyncGenerator[bytes, None]:
    """Pieces of the source as they become available, unpacked if its name ends in .gz.

    Raises ConfigError if it cannot be read.
    """
    async with aclosing(_chunks(source)) as chunks:
        if source == "-" or not _is_gzipped(source):
            async for data in chunks:
                yield data
            return
        unpacker = Unpacker()
        try:
            async for data in chunks:
                for piece in unpacker.feed(data):
                    yield piece
            unpacker.finish()
        except (zlib.error, EOFError) as error:
            raise _unreadable(source, f"as gzip: {error}") from None


class Unpacker:
    """Unpacks gzip data (RFC 1952), of one member or several, in pieces of at most `CHUNK` bytes.

    Invariant: it holds no more than its window of 32 kB; a small file that unpacks to a huge one fills no memory.
    """

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take in ``data``; yield what it unpacks to. Raises zlib.error if it is not gzip data."""
        while data:
            if self._member.eof:
                data = data.lstrip(b"\0")  # tapes pad with it, and gzip passes over it as well
                if not data:
                    return
                self._member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            piece = self._member.decompress(data, CHUNK)
            data = self._member.unconsumed_tail or self._member.unused_data
            if piece:
                yield piece

    def finish(self) -> None:
        """Raise EOFError if the data was cut off."""
        if not self._member.eof:
            raise EOFError("it is cut off")


async def _chunks(source: Source) -> AsyncGenerator[bytes, None]:
    """Pieces of the source as they stand there."""
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
        raise _unreadable(source, error.strerror) from None
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
        raise _unreadable(source, error.strerror) from None


def _is_gzipped(source: Path) -> bool:
    return source.suffix.lower() == ".gz"


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


def _unreadable(source: object, reason: str | None) -> ConfigError:
    return ConfigError(f"{source}: cannot be read: {reason}", hint="Check that it is a readable file.")
