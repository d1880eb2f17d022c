"""The example examples/approval.py: a run that waits for a human while no process is running."""

import asyncio
import json
from pathlib import Path

import pytest

from examples import approval
from repertory.testing import ScriptedLM

COMPLAINT = "The kettle arrived broken."
ANSWER = '{"urgency": "high", "reply": "We are sorry."}'


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def letters() -> list[dict[str, str]]:
    outbox = approval.OUTBOX
    return [json.loads(line) for line in outbox.read_text().splitlines()] if outbox.exists() else []


def test_a_draft_that_was_approved_in_another_process_is_sent_once() -> None:
    lm = ScriptedLM([ANSWER])
    run = asyncio.run(approval.draft(COMPLAINT, lm))
    assert asyncio.run(approval.waiting()) == [(run, json.loads(ANSWER))]
    assert letters() == []
    assert asyncio.run(approval.decide(run, True, lm)) == 1
    assert letters() == [{"complaint": COMPLAINT, "reply": "We are sorry."}]
    assert asyncio.run(approval.waiting()) == []
    assert lm.asked == 1


def test_a_decision_stays_as_it_was_and_a_complaint_filed_twice_is_one() -> None:
    lm = ScriptedLM([ANSWER])
    run = asyncio.run(approval.draft(COMPLAINT, lm))
    assert asyncio.run(approval.draft(COMPLAINT, lm)) == run
    assert asyncio.run(approval.decide(run, False, lm)) is None
    assert asyncio.run(approval.decide(run, True, lm)) is None
    assert letters() == []
    assert lm.asked == 1


def test_a_letter_that_is_sent_again_after_a_crash_is_in_the_outbox_once() -> None:
    assert [approval.send(COMPLAINT, "We are sorry."), approval.send("Another.", "So are we.")] == [1, 2]
    assert approval.send(COMPLAINT, "We are sorry.") == 1
    assert len(letters()) == 2
