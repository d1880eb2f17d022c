"""A process that submits runs and tells how they end; it is there to be killed.

    python -m tests.runtime.killable JOB

A line of its output is the JSON of a `Told`. It ends when its runs have, or if it is to stay, when its input does.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import repertory as rp
from benchmarks.kill_load import INPUT, OUTPUT
from benchmarks.kill_worker import hasten
from repertory.errors import RepertoryError
from repertory.runtime.config import make_config
from repertory.runtime.run_ids import run_id
from repertory.runtime.runtime import Runtime
from repertory.runtime.step_witness import UncertainPolicy
from tests.runtime.programs import Two

PATIENCE = 60.0  # seconds
LEASE = 0.5  # seconds after which the runs of the dead are taken over


@dataclass(frozen=True, slots=True)
class Job:
    """What it is to do.

    Attributes:
        program: ``two`` steps, or one whose answer is a ``number``.
        runs: Texts by run key.
        retry: Keys of runs that are to be retried.
        stay: Whether it goes on without runs of its own.
    """

    store: str
    url: str
    model: str = "openai/m"
    program: str = "two"
    runs: Mapping[str, str] = field(default_factory=dict)
    retry: tuple[str, ...] = ()
    uncertain: UncertainPolicy = "rebuy"
    stay: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """How a run ended."""

    key: str
    status: str
    outputs: Mapping[str, Any] | None
    error: str | None


class Killable:
    """Such a process, seen from outside."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, job: Job) -> "Killable":
        command = (sys.executable, "-m", "tests.runtime.killable", json.dumps(asdict(job)))
        pipe = asyncio.subprocess.PIPE
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, env=environment))

    async def told(self) -> Told:
        """The next thing it tells."""
        async with asyncio.timeout(PATIENCE):
            assert self._process.stdout is not None
            line = await self._process.stdout.readline()
        assert line, f"it ended with status {await self._process.wait()}"
        return Told(**json.loads(line))

    async def kill(self) -> None:
        """End it without a chance to say anything, if it lives."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        async with asyncio.timeout(PATIENCE):
            await self._process.wait()

    async def end(self) -> None:
        """Return when it has ended by itself, and well."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(PATIENCE):
            assert await self._process.wait() == 0


async def work(job: Job) -> None:
    """Do it."""
    price = {"input": INPUT / 1000, "output": OUTPUT / 1000}  # dollars a million tokens
    lm = {"model": job.model, "base_url": job.url, "api_key_env": "", "attempts": 1, "price": price}
    program = Two(max_tokens=9) if job.program == "two" else rp.Predict("text -> number: int", max_tokens=9)
    config = make_config("the test", {"lm": {"default": lm}})
    async with asyncio.timeout(PATIENCE), Runtime(config, store=job.store) as runtime:
        await runtime.start(program, name="p", uncertain=job.uncertain)
        handles = [await runtime.submit("p", {"text": text}, key=key) for key, text in job.runs.items()]
        for key in job.retry:
            handles.append(await runtime.find_run(run_id("p", key)))
            await handles[-1].retry()
        await asyncio.gather(*map(_tell, handles))
        if job.stay:
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def _tell(handle: rp.RunHandle) -> None:
    error = None
    try:
        await handle.result()
    except RepertoryError as failure:
        error = failure.code
    status = await handle.status()
    told = Told(handle.key, status.status, status.outputs, error)
    sys.stdout.write(json.dumps(asdict(told)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    given = Job(**json.loads(sys.argv[1]))
    hasten(LEASE)
    asyncio.run(work(given))
