"""Rows of a Parquet file: typed, numbered, read a few at a time, and refused by row and column."""

import sys
from collections.abc import Mapping
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow
import pytest
from pyarrow.parquet import write_table

from repertory.errors import ConfigError, InputError
from repertory.runtime.parquet import BATCH_ROWS, ParquetRows, count_rows
from repertory.runtime.records import MAX_RECORD_BYTES
from repertory.runtime.rows import Reject, Row, RowReader, read_rows
from repertory.signatures import Signature, compile_signature

ASK = compile_signature(Signature.parse("text, n: int -> answer"))


def written(path: Path, columns: Mapping[str, Any], **options: Any) -> Path:
    file = path / "rows.parquet"
    write_table(pyarrow.table(dict(columns)), file, **options)
    return file


async def rows_of(path: Path, expect: str | None = None, limit: int | None = None) -> list[Row | Reject]:
    reader = RowReader(ASK, "parquet", expect=expect)
    return [row async for group in read_rows(path, reader, "parquet", limit=limit) for row in group]


def cells_of(path: Path) -> list[dict[str, Any] | InputError]:
    with closing(ParquetRows(path)) as rows:
        return [cells.values for group in iter(rows.read, []) for cells in group]


async def test_rows_are_numbered_and_have_ids_and_expected_answers_as_elsewhere(tmp_path: Path) -> None:
    columns = {"id": ["a", "b"], "text": ["x", "y"], "n": [1, 2], "label": [[1], None]}
    path = written(tmp_path, columns)
    assert await rows_of(path, "label") == [
        Row(1, "a", {"text": "x", "n": 1}, [1]),
        Row(2, "b", {"text": "y", "n": 2}, None),
    ]
    path = written(tmp_path, {"text": ["x"], "n": [1.0]})
    assert await rows_of(path) == [Row(1, 1, {"text": "x", "n": 1})]


async def test_rows_that_do_not_fit_are_rejected_by_number_and_column(tmp_path: Path) -> None:
    path = written(tmp_path, {"text": ["x", None, "y"], "n": [1.0, 2.0, 3.5], "id": [1, 2, 3]})
    first, second, third = await rows_of(path)
    assert isinstance(first, Row)
    assert (isinstance(second, Reject), second.line, getattr(second, "field", "")) == (True, 2, "text")
    assert (isinstance(third, Reject), third.line, getattr(third, "field", "")) == (True, 3, "n")
    path = written(tmp_path, {"text": ["x"], "n": [1], "m": [1], "id": [2.5]})
    assert await rows_of(path) == [Reject(1, "id", "is float, not a string or an integer")]
    assert await rows_of(path, "label") == [Reject(1, "id", "is float, not a string or an integer")]


def test_nested_values_are_plain(tmp_path: Path) -> None:
    zone = timezone(timedelta(hours=2))
    values = {
        "nested": [{"a": [1, None], "b": {"c": b"\x00"}}],
        "map": pyarrow.array([[("k", 1)]], pyarrow.map_(pyarrow.string(), pyarrow.int64())),
        "date": [date(2020, 2, 29)],
        "number": [Decimal("1.50")],
        "moment": pyarrow.array([datetime(2020, 1, 1, tzinfo=zone)], pyarrow.timestamp("ms", "+02:00")),
        "choice": pyarrow.array(["x"]).dictionary_encode(),
        "nothing": pyarrow.array([None], pyarrow.null()),
    }
    (row,) = cells_of(written(tmp_path, values))
    assert row == {
        "nested": {"a": [1, None], "b": {"c": b"\x00"}},
        "map": {"k": 1},
        "date": date(2020, 2, 29),
        "number": Decimal("1.50"),
        "moment": datetime(2020, 1, 1, tzinfo=zone),
        "choice": "x",
        "nothing": None,
    }


@pytest.mark.parametrize("name", ["timestamp", "duration", "time64"])
def test_nanoseconds_become_pythons_microseconds(tmp_path: Path, name: str) -> None:
    array = pyarrow.array([1_234_567_891, None], pyarrow.int64()).cast(getattr(pyarrow, name)("ns"))
    first, second = cells_of(written(tmp_path, {"t": array}))
    assert isinstance(first, dict)
    assert type(first["t"]).__module__ == "datetime"
    assert str(first["t"]).endswith("00:01.234567") or str(first["t"]) == "0:00:01.234567"
    assert second == {"t": None}


async def test_a_cell_python_has_no_value_for_is_a_fault_of_its_row_alone(tmp_path: Path) -> None:
    years = pyarrow.array([0, 10**14, 0], pyarrow.timestamp("s"))
    first, second, third = cells_of(written(tmp_path, {"when": years}))
    assert first == third == {"when": datetime(1970, 1, 1)}
    assert isinstance(second, InputError)
    assert (second.field, second.reason[:16]) == ("when", "cannot be read: ")
    keys = pyarrow.array([[("k", 1), ("k", 2)]], pyarrow.map_(pyarrow.string(), pyarrow.int64()))
    (twice,) = cells_of(written(tmp_path, {"map": keys}))
    assert isinstance(twice, InputError)


@pytest.mark.parametrize("limit", [None, 1, BATCH_ROWS, BATCH_ROWS + 1, 1001])
async def test_groups_and_limits(tmp_path: Path, limit: int | None) -> None:
    numbers = range(1000)
    path = written(tmp_path, {"text": ["x"] * 1000, "n": numbers}, row_group_size=300)
    rows = await rows_of(path, limit=limit)
    assert [row.line for row in rows] == list(range(1, 1 + min(1000, 1000 if limit is None else limit)))
    assert [row.inputs["n"] for row in rows if isinstance(row, Row)] == [row.line - 1 for row in rows]
    assert count_rows(path) == 1000


async def test_a_row_that_is_too_long_is_rejected(tmp_path: Path) -> None:
    texts = ["x", "y" * (MAX_RECORD_BYTES + 1), "z" * (MAX_RECORD_BYTES - 100)]
    first, second, third = await rows_of(written(tmp_path, {"text": texts, "n": [1, 2, 3]}))
    assert second == Reject(2, "", f"longer than {MAX_RECORD_BYTES} bytes")
    assert isinstance(first, Row)
    assert isinstance(third, Row)


def test_long_rows_are_decoded_a_few_at_a_time(tmp_path: Path) -> None:
    texts = [Random(number).randbytes(150_000).hex() for number in range(20)]
    with closing(ParquetRows(written(tmp_path, {"text": texts}, use_dictionary=False))) as rows:
        assert len(rows.read()) == 3
        assert sum(len(group) for group in iter(rows.read, [])) == 17


def test_a_row_group_is_not_loaded_whole(tmp_path: Path) -> None:
    rng = Random(1)
    texts = [rng.randbytes(100).hex() for _ in range(100_000)]
    path = written(tmp_path, {"text": texts}, use_dictionary=False, compression="none")
    assert path.stat().st_size > 20_000_000
    del texts
    before = pyarrow.total_allocated_bytes()
    with closing(ParquetRows(path)) as rows:
        for _ in range(20):
            rows.read()
        assert pyarrow.total_allocated_bytes() - before < 4_000_000


async def test_no_rows(tmp_path: Path) -> None:
    path = written(
        tmp_path, {"text": pyarrow.array([], pyarrow.string()), "n": pyarrow.array([], pyarrow.int64())}
    )
    assert await rows_of(path) == []
    assert count_rows(path) == 0


async def test_what_is_no_parquet_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b'{"text": "x"}\n' * 10)
    with pytest.raises(ConfigError, match=r"rows.parquet: cannot be read as Parquet: .*magic bytes"):
        await rows_of(path)
    with pytest.raises(ConfigError, match=r"missing.parquet: no such file"):
        await rows_of(tmp_path / "missing.parquet")
    with pytest.raises(ConfigError, match=r"is not a file"):
        await rows_of(tmp_path)
    with pytest.raises(ConfigError, match=r"standard input: Parquet cannot be read from a pipe"):
        count_rows("-")


async def test_damage_is_told_with_the_last_row_that_could_be_read(tmp_path: Path) -> None:
    texts = [Random(number).randbytes(500).hex() for number in range(2000)]
    options = {"row_group_size": 1000, "use_dictionary": False, "write_page_checksum": True}
    path = written(tmp_path, {"text": texts, "n": range(2000)}, **options)
    damaged = bytearray(path.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 60_000] = bytes(60_000)
    path.write_bytes(damaged)
    rows: list[Row | Reject] = []

    async def read_all() -> None:
        async for group in read_rows(path, RowReader(ASK, "parquet"), "parquet"):
            rows.extend(group)

    with pytest.raises(ConfigError, match=r"rows.parquet: cannot be read after row \d+: ") as caught:
        await read_all()
    assert f"after row {len(rows)}:" in caught.value.message
    assert len(rows) >= BATCH_ROWS


async def test_a_column_twice_is_told(tmp_path: Path) -> None:
    table = pyarrow.table([["x"], ["y"]], names=["text", "text"])
    write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(ConfigError, match=r"rows.parquet: has the column 'text' twice"):
        await rows_of(tmp_path / "rows.parquet")


async def test_without_pyarrow_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, {"text": ["x"], "n": [1]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"Parquet needs the package pyarrow") as caught:
        await rows_of(path)
    assert caught.value.hint == "Run: pip install 'repertory[parquet]'"
