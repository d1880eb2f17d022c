"""A worker process, as its owner sees it."""

import asyncio
import pickle
import sys
from contextlib import suppress
from typing import Self

from repertory.actors.runner import GRACE
from repertory.runtime.errand import Outcome
from repertory.runtime.worker import JOB, OUTCOME

# It finds modules where its owner does, whatever the owner was started with.
_START = "import sys; sys.path[:] = sys.argv[1:]; from repertory.runtime.worker import main; main()"


class WorkerDied(Exception):
    """The process ended before its outcome was there. ``status`` is its exit code, or minus a signal's number."""

    def __init__(self, status: int | None) -> None:
        super().__init__(status)
        self.status = status


class WorkerProcess:
    """A process that does one job after the other.

    Not `anyio.to_process`: its process is left to itself where the call is cancelled while the process starts, and
    answers a Ctrl-C at rest, after which every call gets the answer to the one before.

    Invariants: it does one job at a time; a job that was not waited for to its end is its last.
    """

    __slots__ = ("_ending", "_process")

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ending: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls) -> Self:
        """A new process; a caller that is cancelled meanwhile leaves none."""
        pipe = asyncio.subprocess.PIPE
        return cls(
            await asyncio.create_subprocess_exec(sys.executable, "-c", _START, *sys.path, stdin=pipe, stdout=pipe)
        )

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet, as far as is known."""
        return self._process.returncode is None

    async def do(self, job: bytes, seconds: float) -> Outcome:
        """Have it do ``job``, for so many seconds at most. Raises WorkerDied; then, or cancelled, `kill` it."""
        jobs, outcomes = self._process.stdin, self._process.stdout
        assert jobs is not None
        assert outcomes is not None
        try:
            jobs.write(JOB.pack(len(job), seconds))
            jobs.write(job)
            await jobs.drain()
            (length,) = OUTCOME.unpack(await outcomes.readexactly(OUTCOME.size))
            content = await outcomes.readexactly(length)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    await self._process.wait()
            raise WorkerDied(self._process.returncode) from error
        outcome = pickle.loads(content)
        assert isinstance(outcome, Outcome)
        return outcome

    def kill(self) -> asyncio.Task[None]:
        """Kill it; the task is done when nothing is left of it, or what is left is in nobody's hands."""
        if self._ending is None:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._ending = asyncio.get_running_loop().create_task(self._gone(), name="end of a worker process")
        return self._ending

    async def _gone(self) -> None:
        jobs, outcomes = self._process.stdin, self._process.stdout
        assert jobs is not None
        assert outcomes is not None
        jobs.close()
        # A process that a function has forked may hold the other end of the pipes, for as long as it likes.
        with suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(GRACE):
                await self._process.wait()
                await outcomes.read()
                await jobs.wait_closed()
