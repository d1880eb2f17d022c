"""The daemon as a process of its own, with a client that has a key."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.server.service import PATIENCE, PREDICT

RUN = """
import sys
from repertory.runtime.config import load_config
from repertory.server.process import run_daemon

sys.exit(run_daemon(load_config(sys.argv[1]), sys.argv[1]))
"""
MAIL = """
from repertory.modules import Predict
judge = Predict("text -> label: Literal['spam', 'ham']")
"""
KEY = "a-key-of-the-tests"


class Child:
    """The process, its log and a client with a key."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.log: list[dict[str, Any]] = []
        self.client: aiohttp.ClientSession

    async def logged(self, event: str) -> dict[str, Any]:
        """Read the log up to the next line of ``event``."""
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            async for line in self.process.stderr:
                self.log.append(json.loads(line))
                if self.log[-1]["event"] == event:
                    return self.log[-1]
        raise AssertionError(f"the log ended without {event}: {self.log}")

    async def predict(self) -> tuple[int, dict[str, Any]]:
        async with self.client.post(PREDICT, json={"text": "Win!"}) as response:
            return response.status, await response.json(content_type=None)

    async def exit_code(self) -> int:
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            rest = await self.process.stderr.read()
            self.log += [json.loads(line) for line in rest.splitlines()]
            return await self.process.wait()


@asynccontextmanager
async def daemon(
    tmp_path: Path,
    url: str,
    drain_timeout: float,
    *,
    program: str = MAIL,
    request_timeout: float = 60,
    settings: str = "",
) -> AsyncIterator[Child]:
    (tmp_path / "mail.py").write_text(program)
    config = tmp_path / "daemon.toml"
    config.write_text(
        f'store = "{tmp_path}/store.db"\n'
        f'[lm.default]\nmodel = "openai/scripted"\nbase_url = "{url}"\napi_key_env = ""\n'
        f'[programs.mail]\nsource = "{tmp_path}/mail.py:judge"\n{settings}'
        f"[server]\nport = 0\ndrain_timeout = {drain_timeout}\nrequest_timeout = {request_timeout}\n"
        '[log]\nformat = "json"\n'
    )
    environment = {"REPERTORY_API_KEYS": KEY, "PATH": "/usr/bin:/bin"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", RUN, str(config), stderr=PIPE, env=environment, cwd=Path.cwd()
    )
    child = Child(process)
    try:
        listening = await child.logged("listening")
        assert listening["auth"] is True
        headers = {"Authorization": f"Bearer {KEY}"}
        async with aiohttp.ClientSession(listening["url"], headers=headers) as child.client:
            yield child
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
