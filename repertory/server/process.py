"""The daemon as a process: what is left when it has stopped does not keep it alive."""

import asyncio
import os
import sys
from typing import Any

from repertory.actors.runner import GRACE
from repertory.runtime.config import RuntimeConfig
from repertory.runtime.telemetry import StructlogHook, make_logger
from repertory.server.daemon import serve
from repertory.server.events import LEVELS, TasksLeft


def run_daemon(config: RuntimeConfig, source: str) -> int:
    """As `serve`, on a loop of its own; tasks and threads that withstand its end go with the process."""
    with asyncio.Runner() as runner:
        code = runner.run(serve(config, source))
        if left := runner.run(_left()):
            StructlogHook(make_logger(config.log, sys.stderr), LEVELS)(TasksLeft(left))
            # The runner would wait for the tasks, and the interpreter for the threads, as long as they please.
            os._exit(code)
    return code


async def _left() -> tuple[str, ...]:
    """Cancel all other tasks of the loop; the names of those that withstand it."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    threads = asyncio.create_task(asyncio.get_running_loop().shutdown_default_executor(), name="work in threads")
    _, left = await asyncio.wait({*tasks, threads}, timeout=GRACE)
    return tuple(sorted(map(_described, left)))


def _described(task: "asyncio.Task[Any]") -> str:
    return f"{task.get_name()} ({getattr(task.get_coro(), '__qualname__', '?')})"
