"""Runs of the real command: the installed script in a process of its own, asking a `ScriptedEndpoint`."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.endpoint import Reply, ScriptedEndpoint, Seen, Step

REPERTORY = Path(sys.executable).with_name("repertory")
DEADLINE = 60.0  # seconds until a command that should have ended, or done something, is given up

PROGRAM = """
import repertory as rp

echo = rp.Predict("text -> answer")
count = rp.Predict("text, n: int -> answer: int")

class Two(rp.Module):
    def __init__(self):
        self.first = rp.Predict("text -> middle")
        self.second = rp.Predict("middle -> answer")

    async def forward(self, text: str) -> rp.Prediction:
        middle = await self.first(text=text)
        return await self.second(middle=middle.middle)
"""

Rows = list[dict[str, Any]]


def answer_text(seen: Seen) -> str:
    """What the endpoint says of a row: the question without its label."""
    return json.dumps({"answer": asked(seen)})


def asked(seen: Seen) -> str:
    """The row a request is about."""
    question: str = seen.body["messages"][1]["content"]  # what follows are replies that were sent back
    return question.partition(": ")[2]


def echo(_: Seen) -> Step:
    return Reply(answer_text)


@dataclass(slots=True)
class Ended:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


@dataclass(slots=True)
class Workplace:
    """A directory with a program, data, a configuration, and the endpoint it names."""

    path: Path
    server: ScriptedEndpoint
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        return self.path / "out"

    @property
    def asked(self) -> list[str]:
        """The rows asked so far, one for each request."""
        return [asked(seen) for seen in self.server.requests]

    def write_rows(self, rows: Iterable[Mapping[str, Any]], name: str = "data.jsonl") -> Path:
        path = self.path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    def arguments(self, *more: str, program: str = "program.py:echo", data: str = "data.jsonl") -> list[str]:
        return ["run", program, data, "--config", "config.toml", *more]

    async def start(
        self,
        *arguments: str,
        stdin: Any = asyncio.subprocess.DEVNULL,
        stdout: Any = asyncio.subprocess.PIPE,
        stderr: Any = asyncio.subprocess.PIPE,
    ) -> asyncio.subprocess.Process:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("REPERTORY_", "OPENAI_"))
        }
        return await asyncio.create_subprocess_exec(
            REPERTORY,
            *arguments,
            cwd=self.path,
            env={**environment, "COLUMNS": "200", **self.environment},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            preexec_fn=_heed_interrupts,
        )

    async def call(self, *arguments: str, stdin: Any = asyncio.subprocess.DEVNULL) -> Ended:
        return await end_of(await self.start(*arguments, stdin=stdin))

    async def run(self, *more: str, program: str = "program.py:echo", data: str = "data.jsonl") -> Ended:
        return await self.call(*self.arguments(*more, program=program, data=data))

    def results(self) -> Rows:
        return read_lines(self.out / "results.jsonl")

    def rejects(self) -> Rows:
        return read_lines(self.out / "rejects.jsonl")

    def summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = json.loads((self.out / "summary.json").read_bytes())
        return summary


def _heed_interrupts() -> None:
    # A shell has what it runs in the background ignore SIGINT; the tests may be such a thing, the command is not.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def end_of(process: asyncio.subprocess.Process) -> Ended:
    try:
        async with asyncio.timeout(DEADLINE):
            stdout, stderr = await process.communicate()
    except TimeoutError:
        process.kill()
        stdout, stderr = await process.communicate()
        raise AssertionError(f"did not end within {DEADLINE} s:\n{stderr.decode()}") from None
    assert process.returncode is not None
    return Ended(process.returncode, (stdout or b"").decode(), (stderr or b"").decode())


async def until(condition: Callable[[], bool], process: asyncio.subprocess.Process | None = None) -> None:
    """Wait for something to be seen outside: a line in a file, a request at the endpoint."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            assert process is None or process.returncode is None, await end_of(process)
            await asyncio.sleep(0.005)


async def kill(process: asyncio.subprocess.Process, number: int = signal.SIGKILL) -> Ended:
    process.send_signal(number)
    return await end_of(process)


def read_lines(path: Path) -> Rows:
    """Every line of a JSONL file; fails on a torn one."""
    text = path.read_bytes()
    assert text == b"" or text.endswith(b"\n"), f"torn line at the end of {path}"
    return [json.loads(line) for line in text.splitlines()]


def lines_in(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@asynccontextmanager
async def workplace(
    path: Path, script: Callable[[Seen], Step] = echo, settings: str = ""
) -> AsyncIterator[Workplace]:
    async with ScriptedEndpoint(script) as server:
        (path / "program.py").write_text(PROGRAM)
        (path / "config.toml").write_text(
            f'[lm.default]\nmodel = "openai/x"\nbase_url = "{server.url}"\napi_key_env = ""\n{settings}'
        )
        yield Workplace(path, server)
