"""The table of docs/durability.md, row by row: a process is killed at that moment, and another one goes on."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from tests.endpoint import Hang, Reply, ScriptedEndpoint, Seen, Step

ROOT = Path(__file__).parents[2]
PROGRAM = """
import asyncio, json, os, signal, sys

import repertory as rp

url, moment, uncertain = sys.argv[1:]


def die(at):
    if at == moment:
        os.kill(os.getpid(), signal.SIGKILL)


def note(text):
    with open("effects", "a") as file:
        file.write(text + "\\n")
    die("within the step")
    return len(text)


class Program(rp.Module):
    def __init__(self):
        self.first = rp.Predict("text -> middle", max_tokens=100)
        self.second = rp.Predict("middle -> answer", max_tokens=100)

    async def forward(self, text: str) -> rp.Prediction:
        middle = await self.first(text=text)
        die("with the answer in memory")
        length = await rp.step("note", note, text)
        die("after the step")
        return await self.second(middle=f"{middle.middle}{length}")


async def main():
    price = {"input": "1", "output": "2"}
    model = {"model": "openai/x", "base_url": url, "api_key_env": "", "attempts": 1, "price": price}
    async with rp.Runtime(rp.RuntimeConfig(lm={"default": model}, store="s.db")) as runtime:
        program = await runtime.start(Program(), uncertain=uncertain)
        run = await runtime.submit(program, {"text": "x"}, key="k")
        die("when submit has returned")
        try:
            await run.result(timeout=30)
        except rp.RepertoryError:
            pass
        status = await run.status()
        events = [event async for event in run.events()]
        assert [event.id for event in events] == list(range(1, len(events) + 1))
        print(json.dumps([status.status, status.uncertain_calls, float(status.uncertain_cost)]))


asyncio.run(main())
"""


class Place:
    """Where the processes work, one after the other."""

    def __init__(self, home: Path, server: ScriptedEndpoint) -> None:
        self.home = home
        self.server = server

    async def run(
        self, moment: str = "", uncertain: str = "rebuy", *, kill_at: int = 0
    ) -> tuple[str, int, float] | None:
        """Have a process do what is to be done; None if it was killed: at a moment, or at so many requests."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, self.server.url, moment, uncertain),
            cwd=self.home,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
        )
        if kill_at:
            async with asyncio.timeout(60):
                for _ in range(kill_at):
                    await self.server.arrived.acquire()
            process.kill()
        printed, _ = await process.communicate()
        if process.returncode == -9:
            return None
        status, calls, dollars = json.loads(printed)
        return status, calls, dollars

    def effects(self) -> int:
        return len((self.home / "effects").read_text().splitlines())


def answer(seen: Seen) -> Step:
    return Reply('{"middle": "m"}' if seen.last_message.startswith("text") else '{"answer": "a"}')


@pytest.mark.parametrize(
    ("moment", "asked", "uncertain", "effects"),
    [
        ("when submit has returned", 2, 0, 1),
        ("with the answer in memory", 3, 1, 1),  # it may not have been on disk: asked again, and listed
        ("after the step", 2, 0, 1),
    ],
)
async def test_a_run_goes_on_from_what_is_on_disk(
    tmp_path: Path, moment: str, asked: int, uncertain: int, effects: int
) -> None:
    async with ScriptedEndpoint(answer) as server:
        place = Place(tmp_path, server)
        assert await place.run(moment) is None
        ended = await place.run()
        assert ended is not None
        assert ended[0] == "ok"
        assert place.effects() == effects
        # How fast the disk was decides whether the answer was in time; what is asked again is listed.
        assert len(server.requests) == 2 + ended[1]
        assert len(server.requests) <= asked
        assert ended[1] <= uncertain


async def test_a_step_that_was_under_way_is_done_again(tmp_path: Path) -> None:
    async with ScriptedEndpoint(answer) as server:
        place = Place(tmp_path, server)
        assert await place.run("within the step") is None
        ended = await place.run()
        assert ended is not None
        assert ended[0] == "ok"
        assert place.effects() == 2


@pytest.mark.parametrize(
    ("policy", "status", "asked"), [("rebuy", "ok", 3), ("hold", "held", 2), ("fail", "failed", 2)]
)
async def test_a_call_that_was_under_way_is_listed_with_the_most_it_cost(
    tmp_path: Path, policy: str, status: str, asked: int
) -> None:
    hangs = True

    def step(seen: Seen) -> Step:
        return Hang() if hangs and seen.last_message.startswith("middle") else answer(seen)

    async with ScriptedEndpoint(step) as server:
        place = Place(tmp_path, server)
        assert await place.run("", policy, kill_at=2) is None
        hangs = False
        ended = await place.run("", policy)
        assert ended is not None
        assert ended[:2] == (status, 1)
        assert 0.0002 < ended[2] < 0.01  # 100 tokens of output at $2 a million, and the input
        assert len(server.requests) == asked
        keys = [seen.headers.get("idempotency-key") for seen in server.requests[1:]]
        assert len(set(keys)) == 1  # the same when it is made again


async def test_a_reply_that_could_not_be_used_is_not_asked_for_again(tmp_path: Path) -> None:
    hangs = True

    def step(seen: Seen) -> Step:
        if seen.last_message.startswith("text"):
            return Reply("this is no JSON")
        if seen.last_message.startswith("That reply"):
            return Hang() if hangs else Reply('{"middle": "m"}')
        return answer(seen)

    async with ScriptedEndpoint(step) as server:
        place = Place(tmp_path, server)
        assert await place.run(kill_at=2) is None
        hangs = False
        ended = await place.run()
        assert ended is not None
        assert ended[:2] == ("ok", 1)
        assert [seen.last_message.partition(" ")[0] for seen in server.requests] == [
            "text:",
            "That",
            "That",
            "middle:",
        ]
