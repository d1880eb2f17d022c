"""Formats of the rows: Parquet and gzip through the command, and what cannot be read told in one line."""

import gzip
import json
from pathlib import Path

import pyarrow
from pyarrow.parquet import write_table

from tests.cli.command import workplace

TEXTS = [f"row {number}" for number in range(300)]


async def test_the_same_rows_in_another_format_are_the_same_rows(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        write_table(pyarrow.table({"text": TEXTS, "id": range(300)}), tmp_path / "data.parquet")
        lines = "".join(json.dumps({"text": text, "id": number}) + "\n" for number, text in enumerate(TEXTS))
        (tmp_path / "data.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
        for data in ("data.parquet", "data.jsonl.gz"):
            ended = await place.run("--workers", "16", data=data)
            assert ended.status == 0, ended.stderr
            assert [line["outputs"]["answer"] for line in place.results()] == TEXTS
            assert [line["input_id"] for line in place.results()] == list(range(300))
            assert [line["line"] for line in place.results()] == list(range(1, 301))
            assert sorted(place.asked) == sorted(TEXTS)
        assert place.summary()["resumed"] == 300


async def test_parquet_on_standard_input_is_refused(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        ended = await place.call(*place.arguments("--format", "parquet", data="-"))
        assert ended.status == 2
        assert "error: standard input: Parquet cannot be read from a pipe" in ended.stderr
        assert "Save it as a file and name that, or pipe JSON lines." in ended.stderr


async def test_a_cell_that_json_cannot_hold_is_a_bad_row(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        (tmp_path / "program.py").write_text(
            'import repertory as rp\nfrom typing import Any\necho = rp.Predict("text: bytes -> answer")\n'
        )
        write_table(pyarrow.table({"text": [b"good", b"\xff", b"good"]}), tmp_path / "data.parquet")
        ended = await place.run(data="data.parquet")
        assert (ended.status, len(place.results())) == (3, 2), ended.stderr
        (reject,) = place.rejects()
        assert (reject["line"], reject["field"], reject["reason"]) == (2, "text", "JSON cannot hold a bytes")
