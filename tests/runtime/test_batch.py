"""A batch: every row one outcome, in the order of the rows."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from repertory.errors import LMAuthError, StoreError
from repertory.runtime.batch import Answered, Batch, Failed, Outcome
from repertory.runtime.rows import Reject, Row
from tests.endpoint import Hang, Hold, ScriptedEndpoint, Seen, Status, Step
from tests.runtime.programs import Two, field_and_value, reply_to, requests_seen, runtime_for

ROWS = [Row(line, line, {"text": str(line)}) for line in range(1, 31)]


async def groups_of(rows: list[Row | Reject], size: int = 7) -> AsyncIterator[list[Row | Reject]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


async def test_outcomes_come_in_order_whatever_ends_first(tmp_path: Path) -> None:
    first_done = asyncio.Event()

    def script(seen: Seen) -> Step:
        name, value = field_and_value(seen)
        if (name, value) == ("text", "1"):
            return Hold(first_done, reply_to(seen))  # type: ignore[arg-type]  # a reply
        if value == "m29":
            first_done.set()
        return Status(400) if value == "17" else reply_to(seen)

    rows: list[Row | Reject] = [*ROWS[:10], Reject(99, "f", "r"), *ROWS[10:]]
    outcomes: list[Outcome] = []
    async with ScriptedEndpoint(script) as server, runtime_for(server, tmp_path / "s.db") as runtime:
        two = await runtime.start(Two(), replicas=4)
        await Batch(runtime, two, outcomes.append, workers=4).run(groups_of(rows))
    assert [outcome if isinstance(outcome, Reject) else outcome.row for outcome in outcomes] == rows
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    assert [(one.row.line, one.error.code) for one in failed] == [(17, "lm_request_rejected")]
    assert sum(isinstance(outcome, Answered) for outcome in outcomes) == 29


@pytest.mark.parametrize("error", [ValueError("sink"), StoreError("sink")])
async def test_what_the_sink_raises_ends_the_batch_as_it_is(tmp_path: Path, error: Exception) -> None:
    cause = error.__cause__ = LookupError("why")

    def sink(outcome: Outcome) -> None:
        raise error

    async with ScriptedEndpoint(reply_to) as server, runtime_for(server, tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        with pytest.raises(type(error)) as caught:
            await Batch(runtime, two, sink, workers=3).run(groups_of([*ROWS]))
        assert caught.value is error
        assert caught.value.__cause__ is cause
        assert two.busiest_worker().load == 0


async def test_what_the_source_raises_ends_it_too(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[list[Row | Reject]]:
        yield [*ROWS[:3]]
        raise OSError("the cable")

    outcomes: list[Outcome] = []
    async with ScriptedEndpoint(lambda _: Hang()) as server, runtime_for(server, tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        with pytest.raises(OSError, match="the cable"):
            await Batch(runtime, two, outcomes.append, workers=3).run(broken())
    assert outcomes == []


async def test_refused_credentials_end_it_at_once(tmp_path: Path) -> None:
    async with (
        ScriptedEndpoint(lambda _: Status(401)) as server,
        runtime_for(server, tmp_path / "s.db") as runtime,
    ):
        two = await runtime.start(Two())
        with pytest.raises(LMAuthError):
            await Batch(runtime, two, lambda _: None, workers=2).run(groups_of([*ROWS]))
        assert len(server.requests) <= 2


async def test_no_more_rows_are_under_way_than_there_are_workers(tmp_path: Path) -> None:
    release = asyncio.Event()
    outcomes: list[Outcome] = []
    async with (
        ScriptedEndpoint(lambda seen: Hold(release, reply_to(seen))) as server,  # type: ignore[arg-type]  # a reply
        runtime_for(server, tmp_path / "s.db") as runtime,
    ):
        two = await runtime.start(Two(), replicas=5, concurrency=1)
        batch = asyncio.create_task(Batch(runtime, two, outcomes.append, workers=5).run(groups_of([*ROWS])))
        await requests_seen(server, 5)
        assert sum(endpoint.in_flight for endpoint in runtime.endpoints()) == 5
        release.set()
        await batch
    assert len(outcomes) == len(ROWS)


async def test_a_long_batch_goes_through_its_window(tmp_path: Path) -> None:
    """More rows than may be between reading and handing out, the first of them the last to end."""
    first_done = asyncio.Event()
    rows: list[Row | Reject] = [ROWS[0], *(Reject(line, "", "bad") for line in range(2, 3000))]
    outcomes: list[Outcome] = []
    async with (
        ScriptedEndpoint(lambda seen: Hold(first_done, reply_to(seen))) as server,  # type: ignore[arg-type]  # a reply
        runtime_for(server, tmp_path / "s.db") as runtime,
    ):
        two = await runtime.start(Two())
        batch = asyncio.create_task(Batch(runtime, two, outcomes.append, workers=2).run(groups_of(rows, 256)))
        await requests_seen(server, 1)
        assert outcomes == []
        first_done.set()
        await batch
    assert len(outcomes) == len(rows)
    assert isinstance(outcomes[0], Answered)
