"""A key is one run of one program: across processes, side by side, and after the program has changed."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

import repertory as rp
from repertory.errors import LMServerError, ProgramError, ReplyError
from repertory.testing import ScriptedLM
from tests.endpoint import Reply, ScriptedEndpoint, Step
from tests.runtime.programs import Two, reply_to, runtime_for

TAGS = """
import asyncio, sys
import repertory as rp
from repertory.testing import ScriptedLM

class Tags(rp.Signature):
    tags: set[str] = rp.InputField()
    answer: str = rp.OutputField()

async def main():
    lm = ScriptedLM(lambda _: '{"answer": "a"}')
    async with rp.Runtime(lm=lm, store=sys.argv[1]) as runtime:
        tags = await runtime.start(rp.Predict(Tags))
        run = await tags.run({"tags": {"alpha", "beta", "gamma", "delta"}}, key="k")
        print(run.replayed, len(lm.requests))

asyncio.run(main())
"""


def test_sets_are_the_same_inputs_in_every_process(tmp_path: Path) -> None:
    told = []
    for seed in ("1", "2"):
        command = [sys.executable, "-c", TAGS, str(tmp_path / "s.db")]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        told.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert told == ["False 1\n", "True 0\n"]


async def test_who_comes_second_with_a_key_reads_what_the_first_got(tmp_path: Path) -> None:
    async with ScriptedEndpoint(reply_to) as server, runtime_for(server, tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        runs = await asyncio.gather(*(two.run({"text": "x"}, key="k") for _ in range(5)))
        assert sorted(run.replayed for run in runs) == [False, True, True, True, True]
        assert len(server.requests) == 2


async def test_a_changed_program_does_not_read_the_answers_of_the_old_one(tmp_path: Path) -> None:
    async with ScriptedEndpoint(reply_to) as server:
        async with runtime_for(server, tmp_path / "s.db") as runtime:
            await (await runtime.start(Two(), name="p")).run({"text": "x"}, key="k")
        async with runtime_for(server, tmp_path / "s.db") as runtime:
            changed = await runtime.start(Two(instructions="Otherwise."), name="p")
            with pytest.raises(ProgramError, match="the key 'k' stands for a run of another version of p"):
                await changed.run({"text": "x"}, key="k")
        assert len(server.requests) == 2


async def test_programs_of_string_signatures_do_not_share_a_name() -> None:
    async with rp.Runtime(lm=ScriptedLM([]), store=None) as runtime:
        names = {(await runtime.start(rp.Predict(text))).name for text in ("a -> b", "a -> c")}
    assert len(names) == 2


async def test_a_call_that_was_repeated_within_a_run_is_not_paid_for_again(tmp_path: Path) -> None:
    class Insists(rp.Module):
        def __init__(self) -> None:
            self.ask = rp.Predict("text -> answer", corrections=0)
            self.then = rp.Predict("text -> more", corrections=0)

        async def forward(self, text: str) -> rp.Prediction:
            try:
                await self.ask(text=text)
            except ReplyError:
                await self.ask(text=text)
            return await self.then(text=text)

    script: list[Step] = [
        Reply("no JSON"),
        Reply('{"answer": "a"}'),
        Reply('{"more": null}'),
        Reply('{"more": "m"}'),
    ]
    async with ScriptedEndpoint(script) as server, runtime_for(server, tmp_path / "s.db") as runtime:
        insists = await runtime.start(Insists())
        with pytest.raises(ReplyError):
            await insists.run({"text": "x"}, key="k")
        assert (await insists.run({"text": "x"}, key="k")).prediction.more == "m"
        assert len(server.requests) == 4


async def test_one_calls_mishap_leaves_those_beside_it_alone() -> None:
    calls = 0

    def answer(_: object) -> str | Exception:
        nonlocal calls
        calls += 1
        return KeyError("a foreign model's own error") if calls == 3 else '{"answer": "a"}'

    async with rp.Runtime(lm=ScriptedLM(answer), store=None) as runtime:
        ask = await runtime.start(rp.Predict("text -> answer"), replicas=1)
        outcomes = await asyncio.gather(*(ask(text=str(number)) for number in range(10)), return_exceptions=True)
    failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert [type(outcome) for outcome in failed] == [ProgramError]
    assert calls == 10


async def test_what_a_failed_run_cost_is_in_the_journal(tmp_path: Path) -> None:
    lm = ScriptedLM(['{"middle": "m"}', LMServerError("broken")])
    async with rp.Runtime(lm=lm, store=tmp_path / "s.db") as runtime:
        two = await runtime.start(Two())
        with pytest.raises(LMServerError):
            await two.run({"text": "x"}, key="k")
        recorded = (await two.recorded(["k"]))["k"]
    assert (recorded.status, recorded.lm_calls) == ("failed", 1)
    assert recorded.output_tokens > 0


@pytest.mark.parametrize("mishap", [asyncio.CancelledError(), SystemExit(3)])
async def test_a_program_that_ends_itself_ends_one_run(mishap: BaseException, tmp_path: Path) -> None:
    class Odd(rp.Module):
        def __init__(self) -> None:
            self.ask = rp.Predict("text -> answer")

        async def forward(self, text: str) -> rp.Prediction:
            raise mishap

    async with rp.Runtime(lm=ScriptedLM([]), store=tmp_path / "s.db") as runtime:
        odd = await runtime.start(Odd())
        with pytest.raises(ProgramError, match=f"its code raised {type(mishap).__name__}"):
            await odd.run({"text": "x"}, key="k")
