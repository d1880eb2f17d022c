"""Sources of rows: gzip data is unpacked as it comes, bounded, and told where it is none."""

import gzip
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis.strategies import DataObject, binary, data, integers, lists

from repertory.errors import ConfigError
from repertory.runtime.rows import Row, RowReader, read_rows
from repertory.runtime.sources import CHUNK, Unpacker, count_lines, format_of
from repertory.signatures import Signature, compile_signature

ASK = compile_signature(Signature.parse("text -> answer"))
LINES = "".join(f'{{"text": "{number}"}}\n' for number in range(5000)).encode()


def unpacked(pieces: list[bytes]) -> list[bytes]:
    unpacker = Unpacker()
    given = [piece for data in pieces for piece in unpacker.feed(data)]
    unpacker.finish()
    return given


async def texts_of(path: Path) -> list[str]:
    format = format_of(path)
    groups = [group async for group in read_rows(path, RowReader(ASK, format), format)]
    return [row.inputs["text"] for group in groups for row in group if isinstance(row, Row)]


@given(lists(binary(max_size=300), min_size=1, max_size=4), integers(0, 3), data())
def test_members_come_out_as_they_went_in_however_they_are_cut(
    members: list[bytes], padding: int, draw: DataObject
) -> None:
    packed = b"".join(map(gzip.compress, members)) + bytes(padding)
    cuts = sorted(draw.draw(lists(integers(0, len(packed)), max_size=8)))
    pieces = [packed[start:end] for start, end in zip([0, *cuts], [*cuts, len(packed)], strict=True)]
    assert b"".join(unpacked(pieces)) == b"".join(members)


def test_what_unpacks_to_much_comes_in_small_pieces() -> None:
    pieces = unpacked([gzip.compress(bytes(50 * CHUNK))])
    assert sum(map(len, pieces)) == 50 * CHUNK
    assert max(map(len, pieces)) <= CHUNK


async def test_rows_of_a_gzip_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(LINES))
    assert await texts_of(path) == [str(number) for number in range(5000)]
    assert count_lines(path) is None
    table = tmp_path / "rows.csv.gz"
    table.write_bytes(gzip.compress(b"text\na\nb\n"))
    assert await texts_of(table) == ["a", "b"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (LINES, "as gzip: .*incorrect header check"),
        (gzip.compress(LINES)[:-9], "as gzip: it is cut off"),
        (gzip.compress(LINES) + b"more", "as gzip: .*incorrect header check"),
        (b"", "as gzip: it is cut off"),
    ],
)
async def test_what_is_no_whole_gzip_file_is_told(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=f"rows.jsonl.gz: cannot be read: {reason}"):
        await texts_of(path)


def test_a_damaged_member_raises() -> None:
    packed = bytearray(gzip.compress(LINES))
    packed[len(packed) // 2] ^= 0xFF
    with pytest.raises(zlib.error):
        unpacked([bytes(packed)])
