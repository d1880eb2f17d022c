"""Splitting bytes into records: the pieces in which they arrive do not matter."""

import csv
import io
from collections.abc import Callable, Iterable
from typing import Literal

import pytest
from hypothesis import given
from hypothesis.strategies import DataObject, binary, data, from_regex, integers, lists, text

from repertory.runtime.records import CSVSplitter, LineSplitter, Record

BOUND = 40
Splitter = LineSplitter | CSVSplitter
MAKERS: list[Callable[[], Splitter]] = [lambda: LineSplitter(BOUND), lambda: CSVSplitter(BOUND)]
TRICKY = from_regex(rb'[ab",\r\n]{0,80}', fullmatch=True)


def split(splitter: Splitter, pieces: Iterable[bytes]) -> list[Record]:
    records = [record for piece in pieces for record in splitter.feed(piece)]
    return [*records, *splitter.finish()]


@pytest.mark.parametrize("make", MAKERS)
@given(data())
def test_any_split_into_pieces_gives_the_same_records(make: Callable[[], Splitter], draw: DataObject) -> None:
    whole = draw.draw(TRICKY | binary(max_size=200))
    cuts = sorted(draw.draw(lists(integers(0, len(whole)), max_size=10)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert split(make(), pieces) == split(make(), [whole])


@given(lists(from_regex(rb"[^\n]{0,39}", fullmatch=True).filter(lambda line: not line.startswith(b"\xef"))))
def test_lines_come_out_as_they_went_in(lines: list[bytes]) -> None:
    records = split(LineSplitter(BOUND), [line + b"\n" for line in lines])
    assert records == [Record(number, line) for number, line in enumerate(lines, start=1)]


@given(TRICKY)
def test_no_record_is_longer_than_the_bound_and_lines_are_counted(whole: bytes) -> None:
    for splitter in (LineSplitter(5), CSVSplitter(5)):
        records = split(splitter, [whole])
        assert all(record.text is None or len(record.text) <= 5 for record in records)
        numbers = [record.line for record in records]
        assert numbers == sorted(set(numbers))
        assert all(1 <= number <= whole.count(b"\n") + 1 for number in numbers)


# What a spreadsheet writes; the csv module itself cannot read a lone NUL or carriage return back.
CELL = text(alphabet='ab,"\n\r é', max_size=8).map(lambda cell: cell.replace("\r", "\r\n"))


@given(lists(lists(CELL, min_size=2, max_size=4), min_size=1, max_size=6))
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_csv_comes_back_as_it_was_written(line_break: str, quoting: Literal[0, 1], rows: list[list[str]]) -> None:
    file = io.StringIO()
    csv.writer(file, lineterminator=line_break, quoting=quoting).writerows(rows)
    records = split(CSVSplitter(), [file.getvalue().encode()])
    read = [next(csv.reader([record.text.decode()], strict=True)) for record in records if record.text is not None]
    assert read == rows


@given(lists(from_regex(r'[ab"][ab",]{0,10}', fullmatch=True)))
def test_records_end_where_the_csv_module_ends_them(lines: list[str]) -> None:
    """Quotes within a cell included."""
    whole = "\n".join(lines)
    expected = [[*row] for row in csv.reader(io.StringIO(whole, newline=""))]
    records = split(CSVSplitter(), [whole.encode()])
    assert [next(csv.reader([record.text.decode()])) for record in records if record.text is not None] == expected


def test_an_overlong_line_is_passed_over_without_being_held() -> None:
    splitter = LineSplitter(10)
    assert list(splitter.feed(b"x" * 11)) == []
    assert splitter._held == b""
    assert list(splitter.feed(b"x" * 1000)) == []
    assert splitter._held == b""
    assert list(splitter.feed(b"\nshort\n")) == [Record(1, None), Record(2, b"short")]
    assert list(LineSplitter(10).finish()) == []


def test_a_quote_that_is_never_closed_costs_at_most_the_bound() -> None:
    lines = [b'a,"open', *[b"x,y"] * 20, b"last,line"]
    records = split(CSVSplitter(30), [b"\n".join(lines)])
    assert records[0] == Record(1, None)
    assert records[-1] == Record(22, b"last,line")
