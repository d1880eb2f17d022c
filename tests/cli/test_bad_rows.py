"""Rows that cannot be asked go to rejects.jsonl, each with line, field and reason; the others are answered."""

import json
from pathlib import Path

import pytest

from repertory.runtime.records import MAX_RECORD_BYTES
from tests.cli.command import Rows, workplace
from tests.endpoint import Reply

GOOD = b'{"text": "good", "n": 1}'
LONG = json.dumps({"text": "x" * 10 * 2**20, "n": 1}).encode()


async def rejects_of(tmp_path: Path, data: bytes, *more: str, name: str = "data.jsonl", good: int = 2) -> Rows:
    """Run a program that takes `text` and `n: int`; check the good rows; return the rejects."""
    async with workplace(tmp_path, script=lambda _: Reply('{"answer": 1}')) as place:
        (tmp_path / name).write_bytes(data)
        ended = await place.run(*more, program="program.py:count", data=name)
        assert "Traceback" not in ended.stderr
        assert ended.status == 3, ended.stderr
        assert len(place.results()) == good == place.summary()["ok"]
        assert {line["status"] for line in place.results()} <= {"ok"}
        assert place.summary()["rejected"] == len(place.rejects())
        return place.rejects()


BAD_LINES = [
    (b"not json", "", "is not JSON: "),
    (b'{"text": "cut', "", "is not JSON: "),
    (b'["text"]', "", "is list, not an object"),
    (b"null", "", "is NoneType, not an object"),
    (b"", "", "empty line"),
    (b"  \t\r", "", "empty line"),
    (b'{"text": "x"}', "n", "is missing"),
    (b'{"text": "x", "n": 1, "m": 2}', "m", "is not an input of"),
    (b'{"text": "x", "n": "many"}', "n", "valid integer"),
    (b'{"text": null, "n": 1}', "text", "valid string"),
    (b'{"text": ["x"], "n": 1}', "text", "valid string"),
    (b'{"text": "x", "n": NaN}', "", "is not JSON: "),
    (b'{"text": "x", "n": 1e400}', "n", ""),
    (b'{"text": "\xff\xfe", "n": 1}', "", "is not JSON: "),
    (b'{"text": "\\ud800", "n": 1}', "", "is not JSON: "),
    (b'{"text": "x", "n": 1, "id": 1.5}', "id", "is float, not a string or an integer"),
    (b'{"text": "x", "n": 1, "id": true}', "id", "is bool, not a string or an integer"),
    (b'{"text": "x", "n": 1, "id": null}', "id", "is NoneType, not a string or an integer"),
    (b'{"text": "x", "n": 1, "id": {"a": 1}}', "id", "is dict, not a string or an integer"),
    (LONG, "", f"longer than {MAX_RECORD_BYTES} bytes"),
    (b"[" * 100_000, "", "is not JSON: "),
    (b"\x00\x01\x02", "", "is not JSON: "),
]


async def test_every_bad_line_is_told_with_line_field_and_reason(tmp_path: Path) -> None:
    data = b"\n".join([GOOD, *(line for line, _, _ in BAD_LINES), GOOD]) + b"\n"
    rejects = await rejects_of(tmp_path, data)
    assert [reject["line"] for reject in rejects] == list(range(2, 2 + len(BAD_LINES)))
    for (line, field, reason), reject in zip(BAD_LINES, rejects, strict=True):
        assert reject["field"] == field, line[:60]
        assert reason in reject["reason"], line[:60]


async def test_a_byte_order_mark_crlf_and_a_last_line_without_a_break_are_no_faults(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + GOOD + b"\r\n" + GOOD + b"\r\nbad\r\n" + GOOD
    assert [reject["line"] for reject in await rejects_of(tmp_path, data, good=3)] == [3]


async def test_a_missing_expected_answer_is_a_bad_row(tmp_path: Path) -> None:
    data = b'{"text": "x", "n": 1, "answer": 1}\n' + GOOD + b'\n{"text": "y", "n": 1, "answer": null}\n'
    (reject,) = await rejects_of(tmp_path, data, "--expect", "answer")
    assert reject == {"line": 2, "field": "answer", "reason": "the expected answer is missing"}


async def test_csv_rows(tmp_path: Path) -> None:
    lines = [
        b"\xef\xbb\xbfid,text,n\r",
        b'a,"quoted, with comma and ""quotes""",1\r',
        b'b,"two\r',
        b'lines",2\r',
        b"c,too few\r",
        b"d,too,many,4\r",
        b"e,text,many\r",
        b"\r",
        b'f,5" pipe,6\r',
        b"g,\xff,7\r",
        b'h,"closed"not,8\r',
        b"i," + b"x" * 200_000 + b",9\r",
        b"j," + b"x" * (2**20 + 1) + b",10\r",
        b"k,last before,11\r",
        b'l,"never closed,12\r',
        b"m,inside of it,13",
    ]
    rejects = await rejects_of(tmp_path, b"\n".join(lines), name="data.csv", good=5)
    told = [(reject["line"], reject["field"]) for reject in rejects]
    assert told == [(5, ""), (6, ""), (7, "n"), (8, ""), (10, ""), (11, ""), (13, ""), (15, "")]
    assert rejects[0]["reason"] == "has 2 cells, the header has 3"
    assert rejects[-1]["reason"].startswith("is not CSV: unexpected end of data")


async def test_csv_keeps_what_cells_say(tmp_path: Path) -> None:
    async with workplace(tmp_path) as place:
        (tmp_path / "data.csv").write_bytes(b'text\r\n"one\r\ntwo"\r\n5" pipe\r\n"a ""b"""\r\n')
        ended = await place.run(data="data.csv")
        assert ended.status == 0, ended.stderr
        assert sorted(place.asked) == ['5" pipe', 'a "b"', "one\r\ntwo"]
        assert [line["line"] for line in place.results()] == [2, 4, 5]


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (b"text,text\n", "the CSV header names the column 'text' twice"),
        (b"te\xffxt\nx\n", "the CSV header is not UTF-8"),
        (b'"text"x,n\n', "the CSV header is not CSV"),
    ],
)
async def test_a_header_that_cannot_be_used_ends_the_run(tmp_path: Path, header: bytes, told: str) -> None:
    async with workplace(tmp_path) as place:
        (tmp_path / "data.csv").write_bytes(header)
        ended = await place.run(data="data.csv")
        assert ended.status == 2
        assert ended.stderr.count("\n") <= 2
        assert f"error: {told}" in ended.stderr


async def test_only_bad_rows(tmp_path: Path) -> None:
    assert len(await rejects_of(tmp_path, b"x\n" * 700, good=0)) == 700
