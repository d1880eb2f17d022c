"""Counterparts that others wrote, started once for all tests that speak to them."""

import os
from collections.abc import AsyncIterator, Generator

import pytest
import pytest_asyncio

from repertory.providers.local import LocalModelSettings, LocalServerProcess
from tests.providers.peers import litellm
from tests.providers.peers.litellm import Proxy, running_proxy

START = 60  # seconds: generous, for machines busy with other tests


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def proxy(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proxy]:
    """litellm's proxy in front of a scripted upstream."""
    if not litellm.PROGRAM.exists():
        missing = "litellm's proxy is not installed. Run: make .venv-litellm/.installed"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    async with running_proxy(tmp_path_factory.mktemp("litellm")) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def llama_url() -> AsyncIterator[str]:
    """The root of the packaged model's server. Fails, with the remedy, where the model is not installed."""
    # One thread: two of them wait for each other in busy loops, which on a busy machine takes forever.
    process = LocalServerProcess(LocalModelSettings(threads=1, parallel=1, context=2048))
    try:
        yield await process.start(timeout=START)
    finally:
        await process.stop(timeout=5)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the proxy wrote beside a test of it that failed."""
    report = yield
    running = getattr(item, "funcargs", {}).get("proxy")
    if report.failed and isinstance(running, Proxy):
        report.sections.append(("litellm's proxy", litellm.tail(running.log)))
    return report
