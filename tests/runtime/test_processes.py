"""Worker processes: what comes back from them, and that nothing they do harms who waits."""

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from repertory.errors import (
    ConfigError,
    DeadlineExceeded,
    Overloaded,
    ProgramError,
    RuntimeClosed,
    WorkerCrashed,
)
from repertory.runtime.processes import Processes
from tests.runtime import computed

LONG = 60.0  # seconds: no test waits for them to pass


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    async with Processes(1) as processes:
        yield processes


async def trace_of(path: Path) -> int:
    """The number of the process that hangs, once it does."""
    async with asyncio.timeout(LONG):
        return await asyncio.to_thread(_wait_for, path)


def _wait_for(path: Path) -> int:
    while not path.exists():
        time.sleep(0.01)
    return int(path.read_text(encoding="ascii"))


OWNER = """
import asyncio, sys
from repertory.runtime.processes import Processes
from tests.runtime import computed

async def main():
    processes = Processes(2)
    hangs = asyncio.create_task(processes.run(computed.hang, sys.argv[1], timeout=3))
    await processes.run(computed.leave_trace, sys.argv[2], timeout=60)
    await hangs

asyncio.run(main())
"""


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_gone(pid: int) -> None:
    while is_there(pid):
        time.sleep(0.01)


# --- what comes back -----------------------------------------------------------------------------------------


async def test_a_function_is_run_elsewhere_and_its_result_comes_back(processes: Processes) -> None:
    assert await processes.run(computed.add, 1, 2, timeout=LONG) == 3
    assert await processes.run(os.getpid, timeout=LONG) != os.getpid()
    assert await processes.run(partial(computed.add, 1), 2, timeout=LONG) == 3


async def test_what_the_function_raises_is_raised_and_tells_where(processes: Processes) -> None:
    with pytest.raises(ValueError, match="not today") as error:
        await processes.run(computed.refuse, "not today", timeout=LONG)
    assert "In the worker process" in error.value.__notes__[0]
    assert "computed.py" in error.value.__notes__[0]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (computed.refuse_pickily, r"refuse_pickily raised what cannot be sent .*Picky\('age: too low'\)"),
        (computed.give_a_lambda, r"give_a_lambda returned what cannot be sent .*function"),
    ],
)
async def test_an_outcome_that_cannot_be_sent_is_told_in_words(
    processes: Processes, function: Callable[[], object], message: str
) -> None:
    with pytest.raises(ProgramError, match=message):
        await processes.run(function, timeout=LONG)
    assert await processes.run(computed.add, 1, 2, timeout=LONG) == 3


@pytest.mark.parametrize(
    "function", [lambda: 1, (lambda x: partial(lambda y: x, x))(1)], ids=["lambda", "partial"]
)
async def test_what_no_other_process_could_find_is_refused(
    processes: Processes, function: Callable[[], object]
) -> None:
    with pytest.raises(
        ProgramError, match=r"cannot be sent to a worker process.*\n  Define it with `def` at the top"
    ):
        await processes.run(function, timeout=LONG)


async def test_a_function_within_another_is_refused_by_its_name(processes: Processes) -> None:
    def inner() -> None: ...

    with pytest.raises(ProgramError, match=r"refused_by_its_name\.<locals>\.inner cannot be sent"):
        await processes.run(inner, timeout=LONG)


async def test_an_argument_that_cannot_be_sent_is_refused(processes: Processes) -> None:
    with pytest.raises(ProgramError, match=r"an argument of add cannot be sent .*\n  Hand over plain data"):
        await processes.run(computed.add, 1, threading.Lock(), timeout=LONG)  # type: ignore[arg-type]  # the point


async def test_a_module_that_only_the_caller_has_is_told(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await processes.run(computed.add, 1, 2, timeout=LONG)  # from now on the process's sys.path is what it is
    (tmp_path / "only_here.py").write_text("def f() -> int:\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here  # type: ignore[import-not-found]  # it is made above

    with pytest.raises(ProgramError, match="f or an argument cannot be found in a worker process: ModuleNotFound"):
        await processes.run(only_here.f, timeout=LONG)


async def test_what_a_function_prints_is_not_taken_for_its_answer(
    processes: Processes, capfd: pytest.CaptureFixture[str]
) -> None:
    assert await processes.run(computed.say, "hello", timeout=LONG) == 5
    out, err = capfd.readouterr()
    assert (out, sorted(err.splitlines())) == ("", ["C says hello", "Python says hello"])


async def test_a_function_of_the_main_script_is_not_found_either(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def metric() -> int:
        return 1

    metric.__module__, metric.__qualname__ = "__main__", "metric"
    monkeypatch.setattr(sys.modules["__main__"], "metric", metric, raising=False)
    with pytest.raises(ProgramError, match=r"metric or an argument cannot be found .*\n  Put it into a module"):
        await processes.run(metric, timeout=LONG)


# --- crashes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "told"),
    [(computed.exit_at_once, "ended with status 3"), (computed.kill_itself, "was killed by SIGKILL")],
)
async def test_a_process_that_dies_is_an_error_and_the_next_call_has_another(
    processes: Processes, end: Callable[[], None], told: str
) -> None:
    first = await processes.run(os.getpid, timeout=LONG)
    with pytest.raises(WorkerCrashed, match=f"the process that ran {end.__name__} {told} before it replied"):
        await processes.run(end, timeout=LONG)
    assert await processes.run(os.getpid, timeout=LONG) != first


async def test_where_no_process_can_be_started_the_caller_is_told_and_nothing_is_left(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(WorkerCrashed, match=r"no process could be started to run add: .*No such file"):
            await processes.run(computed.add, 1, 2, timeout=LONG)
    assert await processes.run(computed.add, 1, 2, timeout=LONG) == 3


@pytest.mark.parametrize("end", [computed.exit_politely, computed.interrupt])
async def test_what_is_meant_to_end_a_process_does_not_end_ours(
    processes: Processes, end: Callable[[], None]
) -> None:
    with pytest.raises(
        WorkerCrashed, match=rf"{end.__name__} ended its process by (SystemExit|KeyboardInterrupt)"
    ):
        await processes.run(end, timeout=LONG)
    assert await processes.run(computed.add, 1, 2, timeout=LONG) == 3


async def test_an_interrupt_from_the_terminal_does_not_mix_up_answers(processes: Processes) -> None:
    worker = await processes.run(os.getpid, timeout=LONG)
    os.kill(worker, signal.SIGINT)  # as Ctrl-C does to all that belong to a terminal
    assert [await processes.run(computed.add, 0, number, timeout=LONG) for number in range(3)] == [0, 1, 2]
    assert await processes.run(os.getpid, timeout=LONG) == worker


async def test_one_of_several_that_dies_harms_none_of_the_others() -> None:
    async with Processes(3) as processes:
        calls: list[Any] = [processes.run(computed.add, number, 1, timeout=LONG) for number in range(6)]
        calls.insert(3, processes.run(computed.kill_itself, timeout=LONG))
        *answers, _ = outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(outcomes[3], WorkerCrashed)
        assert [each for each in outcomes if isinstance(each, int)] == [1, 2, 3, 4, 5, 6]
        assert len(answers) == 6


# --- deadlines and cancellation ------------------------------------------------------------------------------


async def test_the_deadline_kills_the_process(tmp_path: Path) -> None:
    async with Processes(1) as processes:
        await processes.run(computed.add, 1, 2, timeout=LONG)  # one is there: the time is not spent on its start
        with pytest.raises(DeadlineExceeded, match=r"hang was not done by a worker process within 1 s"):
            await processes.run(computed.hang, str(tmp_path / "trace"), timeout=1)
        # With one process at most, the next call says that the one before is gone.
        other = await processes.run(os.getpid, timeout=LONG)
    if (tmp_path / "trace").exists():
        assert other != (hung := await trace_of(tmp_path / "trace"))
        assert not is_there(hung)


async def test_cancelling_the_caller_kills_the_process(processes: Processes, tmp_path: Path) -> None:
    call = asyncio.create_task(processes.run(computed.hang, str(tmp_path / "trace"), timeout=LONG))
    hung = await trace_of(tmp_path / "trace")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await processes.run(os.getpid, timeout=LONG) != hung
    assert not is_there(hung)


async def test_the_wait_for_a_process_counts(processes: Processes, tmp_path: Path) -> None:
    call = asyncio.create_task(processes.run(computed.hang, str(tmp_path / "trace"), timeout=LONG))
    await trace_of(tmp_path / "trace")
    with pytest.raises(DeadlineExceeded):
        await processes.run(computed.add, 1, 2, timeout=0.05)
    call.cancel()


async def test_where_the_owner_was_killed_an_idle_worker_ends_and_one_at_work_when_its_time_is_up(
    tmp_path: Path,
) -> None:
    traces = tmp_path / "at work", tmp_path / "idle"
    root = str(Path(__file__).parents[2])
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", OWNER, *traces, env={"PYTHONPATH": root})
    workers = [await trace_of(trace) for trace in traces]
    owner.kill()
    await owner.wait()
    async with asyncio.timeout(LONG):
        for worker in workers:
            await asyncio.to_thread(wait_gone, worker)


# --- bounds --------------------------------------------------------------------------------------------------


async def test_there_are_as_many_processes_as_there_is_work_up_to_the_limit() -> None:
    async with Processes(2) as processes:
        one_after_the_other = {await processes.run(os.getpid, timeout=LONG) for _ in range(3)}
        assert len(one_after_the_other) == 1
        beside = await asyncio.gather(*(processes.run(os.getpid, timeout=LONG) for _ in range(12)))
        assert len({*beside, *one_after_the_other}) <= 2


async def test_more_calls_than_may_wait_are_refused(tmp_path: Path) -> None:
    async with Processes(1, waiting=1) as processes:
        calls = [
            asyncio.create_task(processes.run(computed.hang, str(tmp_path / "trace"), timeout=LONG))
            for _ in range(2)
        ]
        await trace_of(tmp_path / "trace")
        with pytest.raises(Overloaded, match="add: 1 calls wait for one of 1 worker processes already") as error:
            await processes.run(computed.add, 1, 2, timeout=LONG)
        assert error.value.retry_after == 1.0
    assert [type(each) for each in await asyncio.gather(*calls, return_exceptions=True)] == [RuntimeClosed] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"limit": 0}, "Processes: limit = 0\n  It must be a whole number, at least 1, or None."),
        ({"waiting": -1}, "Processes: waiting = -1\n  It must be a whole number, 0 or more."),
        ({"idle_after": "1 m"}, "Processes: idle_after = '1 m'\n  It must be seconds, 0 or more."),
    ],
)
def test_bounds_that_make_no_sense_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Processes(**arguments)
    assert str(error.value) == message


# --- the end -------------------------------------------------------------------------------------------------


async def test_closing_ends_the_processes_at_work_and_those_that_are_not(tmp_path: Path) -> None:
    threads = {thread.name for thread in threading.enumerate()}
    processes = Processes(2)
    call = asyncio.create_task(processes.run(computed.hang, str(tmp_path / "trace"), timeout=LONG))
    hung = await trace_of(tmp_path / "trace")
    idle = await processes.run(os.getpid, timeout=LONG)
    await processes.close()
    assert not is_there(hung)
    assert not is_there(idle)
    with pytest.raises(RuntimeClosed, match="hang: the worker processes were closed"):
        await call
    with pytest.raises(RuntimeClosed):
        await processes.run(computed.add, 1, 2, timeout=LONG)
    await asyncio.get_running_loop().shutdown_default_executor()  # whose threads are the loop's
    left = {thread.name for thread in threading.enumerate()} - threads
    assert [
        name for name in left if "waitpid" not in name
    ] == []  # asyncio's own, which go when they are scheduled


async def test_closing_what_was_never_used_is_nothing() -> None:
    processes = Processes()
    await processes.close()
    await processes.close()


async def test_where_memory_is_short_processes_without_work_go(processes: Processes, tmp_path: Path) -> None:
    first = await processes.run(os.getpid, timeout=LONG)
    processes.shrink(0.1)
    assert await processes.run(os.getpid, timeout=LONG) != first
    call = asyncio.create_task(processes.run(computed.hang, str(tmp_path / "trace"), timeout=LONG))
    hung = await trace_of(tmp_path / "trace")
    processes.shrink(0.1)
    assert is_there(hung)
    call.cancel()


async def test_processes_without_work_for_a_while_go_and_come_back() -> None:
    async with Processes(1, idle_after=0.0) as processes:
        first = await processes.run(os.getpid, timeout=LONG)
        await asyncio.sleep(0.001)  # the loop's timers go off in order: theirs was due before this one
        assert await processes.run(os.getpid, timeout=LONG) != first
