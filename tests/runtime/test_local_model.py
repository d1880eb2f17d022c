"""The packaged model under a runtime: killed or frozen, it is replaced and what is asked is answered."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

import repertory as rp
from repertory.errors import LMTimeout
from repertory.events import ActorRestarted, CircuitChanged, LMCallFinished, LocalModelExited, LocalModelStarted
from repertory.runtime import local_model
from repertory.runtime.batch import Answered, Batch, Outcome
from repertory.runtime.rows import Reject, Row
from repertory.runtime.runtime import Runtime
from tests.runtime.programs import LOCAL, Collected

TEXTS = ["The team won the cup.", "Shares fell on Friday.", "The striker was hurt.", "The bank cut its rates."]


async def rows() -> AsyncIterator[list[Row | Reject]]:
    yield [Row(line, line, {"text": f"{text} ({line})"}) for line, text in enumerate(TEXTS * 2, start=1)]


@pytest.mark.local_model
async def test_killed_in_mid_run_it_comes_back_and_every_row_is_answered(tmp_path: Path) -> None:
    told = Collected()
    outcomes: list[Outcome] = []
    program = rp.Predict("text -> topic: Literal['sports','business']", temperature=0, max_tokens=20)
    async with Runtime(LOCAL, store=tmp_path / "s.db", hooks=[told]) as runtime:
        first = told.of(LocalModelStarted)[0]
        topics = await runtime.start(program, replicas=4, concurrency=1)
        batch = asyncio.create_task(Batch(runtime, topics, outcomes.append, workers=4, timeout=120).run(rows()))
        await told.until(LMCallFinished)
        os.kill(first.pid, signal.SIGKILL)
        async with asyncio.timeout(120):
            await batch
        exited = told.of(LocalModelExited)
        assert [(event.pid, event.status) for event in exited] == [(first.pid, -signal.SIGKILL)]
        second = await told.until(LocalModelStarted, 2)
        assert [event.path for event in told.of(ActorRestarted)] == ["root/models/default"]
        assert told.of(CircuitChanged)[0].after == "open"
        assert told.of(CircuitChanged)[-1].after == "closed"
    assert [outcome.run.prediction.topic in ("sports", "business") for outcome in answered(outcomes)] == [True] * 8
    with pytest.raises(ProcessLookupError):
        os.kill(second.pid, 0)


@pytest.mark.local_model
async def test_frozen_it_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_model, "PROBE_INTERVAL", 0.2)
    monkeypatch.setattr(local_model, "PROBE_TIMEOUT", 1.0)
    monkeypatch.setattr(local_model, "STOP_TIMEOUT", 0.2)
    told = Collected()
    program = rp.Predict("text -> topic: Literal['sports','business']", temperature=0, max_tokens=20)
    async with Runtime(LOCAL, store=tmp_path / "s.db", hooks=[told]) as runtime:
        first = told.of(LocalModelStarted)[0]
        topics = await runtime.start(program)
        os.kill(first.pid, signal.SIGSTOP)
        try:
            restart = await told.until(ActorRestarted)
        finally:
            with suppress(ProcessLookupError):  # as it should be
                os.kill(first.pid, signal.SIGCONT)
        assert restart.path == "root/models/default"
        assert isinstance(restart.cause, LMTimeout)
        assert f"process {first.pid} is there but did not answer 3 probes" in str(restart.cause)
        run = await topics.run({"text": TEXTS[0]}, timeout=60)
        assert run.prediction.topic in ("sports", "business")
    with pytest.raises(ProcessLookupError):
        os.kill(first.pid, 0)


def answered(outcomes: list[Outcome]) -> list[Answered]:
    return [outcome for outcome in outcomes if isinstance(outcome, Answered)]
