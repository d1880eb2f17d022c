"""Server-sent events, whatever way their bytes are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists, sampled_from

from repertory.errors import LMReplyMalformed
from repertory.providers.failures import Peer
from repertory.providers.sse import EventReader, ServerEvent

STREAM = (
    b"\xef\xbb\xbf: a comment\n"
    b'event: delta\ndata: {"a":\ndata: 1}\n\n'
    b"data:\xc3\xa9\xf0\x9f\x8e\xad \r\n\r\n"
    b"id: 7\rdata\rdata:  x\r\r"
    b"event: empty\n\n"
    b"data: [DONE]\n\n"
    b"data: never ended"
)
EVENTS = [
    ServerEvent("delta", b'{"a":\n1}'),
    ServerEvent("", "é🎭 ".encode()),
    ServerEvent("", b"\n x"),
    ServerEvent("", b"[DONE]"),
]


def read(pieces: list[bytes], max_event: int = 10_000) -> list[ServerEvent]:
    reader = EventReader(Peer("qa"), max_event)
    return [event for piece in pieces for event in reader.feed(piece)]


def test_a_stream_is_read_at_once_and_byte_by_byte() -> None:
    assert read([STREAM]) == EVENTS
    assert read([STREAM[i : i + 1] for i in range(len(STREAM))]) == EVENTS


@pytest.mark.parametrize("cut", range(len(STREAM)))
def test_a_stream_is_read_alike_for_every_cut(cut: int) -> None:
    assert read([STREAM[:cut], b"", STREAM[cut:]]) == EVENTS


@given(
    lists(
        sampled_from([b"data: a", b"data:", b"event: e", b"\n", b"\r", b"\r\n", b"\xef\xbb\xbf", b"\xff", b":"])
    ),
    lists(integers(0, 60)),
)
def test_the_cuts_never_matter(pieces: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(pieces)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    assert read([stream[a:b] for a, b in pairwise(places)]) == read([stream])


@pytest.mark.parametrize("line", [b"data: x\n", b"x", b"data: " + b"x" * 50])
def test_an_event_that_never_ends_is_refused(line: bytes) -> None:
    with pytest.raises(LMReplyMalformed, match="qa: an event of its stream is larger than 200 bytes"):
        read([line] * 300, max_event=200)


def test_the_bound_is_that_of_one_event() -> None:
    assert len(read([b"data: x\n\n"] * 300, max_event=200)) == 300
