"""Answer complaints with a model's draft and a human's word, be it days later.

    python examples/approval.py draft "The kettle of order 1234 arrived broken."
    python examples/approval.py waiting
    python examples/approval.py approve RUN        (or: refuse RUN)

Each command is a process of its own. While a human thinks, nothing is running: the run is in complaints.db, with
its draft, and goes on there. What was sent is in outbox.jsonl. With `--lm openai/gpt-4.1-mini` drafts are better
than those of the packaged model.
"""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Literal

import repertory as rp
from repertory.providers.lm import LM

STORE, OUTBOX = Path("complaints.db"), Path("outbox.jsonl")


class Draft(rp.Signature):
    """Draft a short, friendly reply to the customer's complaint."""

    complaint: str = rp.InputField()
    urgency: Literal["low", "high"] = rp.OutputField()
    reply: str = rp.OutputField(desc="two sentences at most")


class Complaints(rp.Module):
    """Drafts a reply, waits for somebody to approve it, and sends it."""

    def __init__(self) -> None:
        self.draft = rp.Predict(Draft, temperature=0, max_tokens=200)

    async def forward(self, complaint: str) -> rp.Prediction:
        draft = await self.draft(complaint=complaint)
        if not await rp.wait_for_signal("decision"):
            return rp.Prediction(sent=None)
        return rp.Prediction(sent=await rp.step("send", send, complaint, draft.reply))


def send(complaint: str, reply: str) -> int:
    """Put a reply into the outbox, unless it is there; return its number.

    A process may die after a step has had its effect and before that is on record. Then the step is done again: so
    it looks first.
    """
    letter = json.dumps({"complaint": complaint, "reply": reply})
    sent = OUTBOX.read_text().splitlines() if OUTBOX.exists() else []
    if letter not in sent:
        sent.append(letter)
        OUTBOX.write_text("".join(f"{line}\n" for line in sent))
    return sent.index(letter) + 1


async def draft(complaint: str, lm: str | LM) -> str:
    """Submit a complaint; return the run's id once there is a draft. Nobody waits for the rest."""
    async with rp.Runtime(lm=lm, store=STORE) as runtime:
        await runtime.start(Complaints(), name="complaints")
        # The complaint is its own key: who files it twice gets one reply.
        handle = await runtime.submit("complaints", {"complaint": complaint}, key=complaint)
        async for event in handle.events():
            if event.kind == "step":
                break
        return handle.id


async def waiting() -> list[tuple[str, object]]:
    """The runs that wait for a decision, and their drafts."""
    async with rp.Runtime(store=STORE) as runtime:
        found = []
        for run in await runtime.runs.latest("complaints", "accepted", 100):
            steps = await (await runtime.find_run(run.id)).steps()
            found.append((run.id, steps[0].outputs if steps else None))
        return found


async def decide(run: str, approved: bool, lm: str | LM) -> int | None:
    """Send a run its decision, and see it to its end; return the number of the letter that was sent."""
    async with rp.Runtime(lm=lm, store=STORE) as runtime:
        await runtime.start(Complaints(), name="complaints")  # what waits goes on from here
        handle = await runtime.find_run(run)
        if not (await handle.status()).ended:
            await handle.signal("decision", approved)
        sent: int | None = (await handle.result(timeout=60)).sent
        return sent


def main() -> None:
    parser = argparse.ArgumentParser(description="Answer complaints with a draft and a human's word.")
    parser.add_argument("command", choices=["draft", "waiting", "approve", "refuse"])
    parser.add_argument("what", nargs="?", default="", help="the complaint, or the run")
    parser.add_argument("--lm", default="local", help="which model drafts (default: the packaged one)")
    given = parser.parse_args()
    try:
        if given.command == "draft":
            print(asyncio.run(draft(given.what, given.lm)))
        elif given.command == "waiting":
            for run, outputs in asyncio.run(waiting()):
                print(run, outputs)
        else:
            print("sent:", asyncio.run(decide(given.what, given.command == "approve", given.lm)))
    except rp.RepertoryError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
