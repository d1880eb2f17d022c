"""Rows of a file, as the program's inputs."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists, text, tuples

from repertory.errors import ConfigError
from repertory.runtime.records import Record
from repertory.runtime.rows import GROUP, Reject, Row, RowReader, read_rows
from repertory.runtime.sources import count_lines, format_of
from repertory.signatures import Signature, compile_signature

ASK = compile_signature(Signature.parse("text, n: int -> answer"))
IDENTIFIED = compile_signature(Signature.parse("id: int, text -> answer"))


def read(line: bytes, expect: str | None = None) -> Row | Reject | None:
    return RowReader(ASK, "jsonl", expect=expect).read(Record(7, line))


def test_a_rows_id_is_its_own_or_its_line() -> None:
    assert read(b'{"text": "x", "n": "3"}') == Row(7, 7, {"text": "x", "n": 3})
    assert read(b'{"text": "x", "n": 3, "id": "a"}') == Row(7, "a", {"text": "x", "n": 3})
    assert read(b'{"text": "x", "n": 3, "id": 0}') == Row(7, 0, {"text": "x", "n": 3})


def test_an_id_that_the_program_takes_is_an_input() -> None:
    row = RowReader(IDENTIFIED, "jsonl").read(Record(1, b'{"id": 5, "text": "x"}'))
    assert row == Row(1, 1, {"id": 5, "text": "x"})


def test_the_expected_answer_is_kept_from_the_program() -> None:
    assert read(b'{"text": "x", "n": 3, "label": [1]}', "label") == Row(7, 7, {"text": "x", "n": 3}, [1])


def test_integers_are_exact() -> None:
    row = read(b'{"text": "x", "n": %d}' % (10**30 + 1))
    assert isinstance(row, Row)
    assert row.inputs["n"] == 10**30 + 1


@given(lists(tuples(text(alphabet='a,"\n é', max_size=9), integers(-(10**20), 10**20)), max_size=20))
async def test_csv_round_trip(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]]) -> None:
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "n"])
        writer.writerows(rows)
    groups = [group async for group in read_rows(path, RowReader(ASK, "csv"), "csv")]
    found = [row.inputs for group in groups for row in group if isinstance(row, Row)]
    assert found == [{"text": cell, "n": number} for cell, number in rows]


@pytest.mark.parametrize("limit", [None, 1, GROUP, GROUP + 1, 999, 1000, 1001])
async def test_groups_and_limits(tmp_path: Path, limit: int | None) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"text": "{"x" * 100}", "n": {number}}}\n' for number in range(1000)))
    groups = [group async for group in read_rows(path, RowReader(ASK, "jsonl"), "jsonl", limit=limit)]
    assert all(0 < len(group) <= GROUP for group in groups)
    found = [row.inputs["n"] for group in groups for row in group if isinstance(row, Row)]
    assert found == list(range(min(1000, 1000 if limit is None else limit)))


@pytest.mark.parametrize(("text", "lines"), [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("\n\n", 2)])
def test_counting_lines(tmp_path: Path, text: str, lines: int) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    assert count_lines(path) == lines


def test_formats() -> None:
    names = {"a.jsonl": "jsonl", "a.NDJSON": "jsonl", "a.json": "jsonl", "b.CSV": "csv"}
    names |= {"a.jsonl.gz": "jsonl", "a.csv.GZ": "csv", "c.parquet": "parquet", "c.PQ": "parquet"}
    assert {name: format_of(Path(name)) for name in names} == names
    assert format_of("-") == "jsonl"
    for name in ("a.txt", "a", "a.txt.gz", "a.gz"):
        with pytest.raises(ConfigError, match=r"pass --format"):
            format_of(Path(name))
