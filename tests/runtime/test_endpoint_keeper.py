"""The actor that looks after the endpoints: what it remembers, and that nothing it meets ends the runtime."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from repertory.errors import LMAuthError, StoreError
from repertory.events import CircuitsNotKept, EndpointProbed, Event, Hooks
from repertory.providers.endpoint import Endpoint, EndpointSnapshot
from repertory.providers.messages import LMRequest, Message
from repertory.providers.settings import EndpointSettings
from repertory.runtime.config import make_config
from repertory.runtime.endpoint_keeper import EndpointKeeper
from repertory.runtime.runtime import Runtime
from repertory.testing import FakeClock
from tests.endpoint import ScriptedEndpoint, Status

NOWHERE = "http://127.0.0.1:9/v1"
SLEEPERS = (
    3  # on a runtime's clock: the keeper and the guard between two looks, and the ledger between two renewals
)


class Daemon:
    """A runtime on a clock of its own, with one endpoint; ``looks`` lets its keeper look."""

    def __init__(self, store: Path | None, url: str = NOWHERE, lm: Any = None) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        table = {
            "model": "compatible/x",
            "base_url": url,
            "breaker": {"open_seconds": 50.0, "open_seconds_cap": 60.0},
        }
        config = make_config("test", {"lm": {"default": table}})
        self.runtime = Runtime(config, lm=lm, store=store, hooks=[self.events.append], clock=self.clock)
        self.sleepers = SLEEPERS if store is not None else 2

    @property
    def endpoint(self) -> EndpointSnapshot:
        (snapshot,) = self.runtime.endpoints()
        return snapshot

    async def looks(self, times: int) -> None:
        for _ in range(times):
            await self.clock.until_asleep(self.sleepers)
            self.clock.advance(1.0)
        await self.clock.until_asleep(self.sleepers)

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


@asynccontextmanager
async def a_daemon(store: Path | None, url: str = NOWHERE, lm: Any = None) -> AsyncIterator[Daemon]:
    daemon = Daemon(store, url, lm)
    async with daemon.runtime:
        yield daemon


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The states that keepers have committed."""
    committed: list[object] = []
    commit = EndpointKeeper.commit

    def counted(self: EndpointKeeper, state: Any) -> Awaitable[None]:
        committed.append(state)
        return commit(self, state)

    monkeypatch.setattr(EndpointKeeper, "commit", counted)
    return committed


async def open_by_failures(daemon: Daemon) -> None:
    """Have the endpoint, which refuses the key, called once."""

    (endpoint,) = daemon.runtime.models.endpoints()
    with pytest.raises(LMAuthError):
        await endpoint.complete(LMRequest((Message("user", "Tag?"),)))


async def test_an_open_circuit_is_written_down_once_and_known_to_the_next_daemon(
    tmp_path: Path, commits: list[object]
) -> None:

    async with ScriptedEndpoint(lambda _: Status(401)) as server:
        async with a_daemon(tmp_path / "s.db", server.url) as daemon:
            await daemon.looks(1)
            before = len(commits)
            await open_by_failures(daemon)
            await daemon.looks(8)
            assert len(commits) == before + 1
        async with a_daemon(tmp_path / "s.db", server.url) as heir:
            assert heir.endpoint.circuit.state == "open"


async def test_a_circuit_that_waits_for_its_probe_is_not_written_down_at_every_look(
    tmp_path: Path, commits: list[object]
) -> None:

    async with (
        ScriptedEndpoint(lambda seen: Status(401 if "chat" in seen.path else 404)) as server,
        a_daemon(tmp_path / "s.db", server.url) as daemon,
    ):
        await open_by_failures(daemon)
        await daemon.looks(2)  # the free question was answered, so that the next call may probe
        before = len(commits)
        await daemon.looks(8)
        assert daemon.endpoint.circuit.open_for == 0
        assert len(commits) <= before + 1


async def test_two_runtimes_on_one_store_do_not_end_each_other(tmp_path: Path) -> None:
    async with a_daemon(tmp_path / "s.db") as one, a_daemon(tmp_path / "s.db") as other:
        for number in range(10):
            for daemon in (one, other):
                daemon.runtime.force_circuit("default", None if number % 2 else "open")
                await daemon.looks(1)
        assert (one.runtime.obstacles(), other.runtime.obstacles()) == ([], [])
        assert len(one.of(CircuitsNotKept)) + len(other.of(CircuitsNotKept)) == 1


async def test_a_store_that_fails_ends_no_runtime_and_is_written_to_when_it_is_well_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(self: EndpointKeeper, state: object) -> None:
        raise StoreError("the disk is full")

    async with a_daemon(tmp_path / "s.db") as daemon:
        with monkeypatch.context() as patched:
            patched.setattr(EndpointKeeper, "commit", full)
            daemon.runtime.force_circuit("default", "open")
            await daemon.looks(10)
        (told,) = daemon.of(CircuitsNotKept)
        assert str(told.cause) == "the disk is full"
        await daemon.looks(10)
    async with a_daemon(tmp_path / "s.db") as heir:
        assert heir.endpoint.circuit.forced == "open"


async def test_an_endpoint_that_its_owner_has_closed_is_no_reason_to_end(tmp_path: Path) -> None:
    endpoint = Endpoint(EndpointSettings("mine", "x", NOWHERE), clock=FakeClock(), hooks=Hooks(), rng=Random(1))
    await endpoint.close()
    async with a_daemon(tmp_path / "s.db", lm={"default": endpoint}) as daemon:
        endpoint.force_circuit("open")
        await daemon.looks(12)
        endpoint.force_circuit(None)
        assert daemon.runtime.obstacles() == []


async def test_a_runtime_without_a_store_asks_after_its_endpoints_too() -> None:
    async with ScriptedEndpoint(lambda _: Status(401)) as server, a_daemon(None, server.url) as daemon:
        await open_by_failures(daemon)
        await daemon.looks(7)
        assert [event.error for event in daemon.of(EndpointProbed)] == ["lm_auth"] * 2


async def test_what_an_operator_keeps_open_is_left_alone() -> None:
    async with a_daemon(None) as daemon:
        daemon.runtime.force_circuit("default", "open")
        await daemon.looks(7)
        assert daemon.of(EndpointProbed) == []
