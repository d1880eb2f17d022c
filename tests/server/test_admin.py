"""What the admin socket tells: the tree as it is, nothing of the data that errors quote."""

import asyncio
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from repertory import __version__
from repertory.actors.info import ActorInfo, MailboxStats
from repertory.cli.daemon_client import ask_endpoints, read_endpoints
from repertory.cli.endpoint_view import endpoint_lines
from repertory.errors import LMAuthError, StoreError
from repertory.runtime.config import make_config
from repertory.runtime.runtime import Runtime
from repertory.server.admin import LONGEST_ERROR, administered, described, shortened
from tests.endpoint import ScriptedEndpoint, Status
from tests.server.service import Recorder, endpoint_config, mail


class Standing(Runtime):
    """A runtime that was never started, with a tree to show."""

    def __init__(self, path: Path, *actors: ActorInfo) -> None:
        self.recorder = Recorder()
        config = make_config("test", {"server": {"admin_socket": str(path)}})
        super().__init__(config, store=None, hooks=[self.recorder])
        self.shown = actors

    def tree(self) -> tuple[ActorInfo, ...]:
        return self.shown


def actor(path: str = "root", *children: ActorInfo, error: str | None = None) -> ActorInfo:
    return ActorInfo(
        path=path,
        kind="Supervisor",
        state="running",
        incarnation=3,
        restarts=2,
        age=1.5,
        mailbox=MailboxStats(4, 5, 6, 7),
        handling=("Add", "Add"),
        last_error=error,
        children=children,
    )


def client_of(path: Path) -> aiohttp.ClientSession:
    return aiohttp.ClientSession("http://localhost", connector=aiohttp.UnixConnector(str(path)))


async def test_the_tree_is_told_whole(tmp_path: Path) -> None:
    path = tmp_path / "admin" / "socket"
    runtime = Standing(path, actor("root", actor("root/a"), actor("root/b", error="ValueError: no")))
    async with administered(runtime) as where, client_of(path) as client, client.get("/v1/tree") as response:
        assert where == path
        assert response.status == 200
        answer = await response.json()
    assert (answer["version"], answer["pid"]) == (__version__, os.getpid())
    (root,) = answer["actors"]
    assert [child["path"] for child in root["children"]] == ["root/a", "root/b"]
    assert root["children"][1] == {
        "path": "root/b",
        "kind": "Supervisor",
        "state": "running",
        "incarnation": 3,
        "restarts": 2,
        "age": 1.5,
        "mailbox": {"depth": 4, "high_water": 5, "waits": 6, "drops": 7},
        "handling": ["Add", "Add"],
        "last_error": "ValueError: no",
        "children": [],
    }
    assert (answer["journal_failure"], answer["circuits"]) == (None, [])
    assert not runtime.recorder.events  # a watch every second must not fill the log
    assert not path.exists()


async def test_what_it_suffers_from_outside_is_told(tmp_path: Path) -> None:
    path, store = tmp_path / "admin" / "socket", tmp_path / "store.db"
    async with ScriptedEndpoint([Status(401)]) as endpoint:
        config = endpoint_config(endpoint.url, admin_socket=str(path))
        async with Runtime(config, store=store) as runtime, administered(runtime), client_of(path) as client:
            deployment = await runtime.start(mail(), name="mail")
            with pytest.raises(LMAuthError):
                await deployment(text="Win!")
            with closing(sqlite3.connect(store)) as disk:
                disk.execute(
                    f"CREATE TRIGGER full BEFORE INSERT ON runs BEGIN SELECT RAISE(ABORT, '{'x' * 300}'); END"
                )
            with pytest.raises(StoreError):
                await deployment(text="Win!")
            async with client.get("/v1/tree") as response:
                answer = await response.json()
    (circuit,) = answer["circuits"]
    assert (circuit["endpoint"], circuit["state"]) == ("default", "open")
    assert circuit["open_for"] > 0
    assert ": a transaction failed: xxx" in answer["journal_failure"]
    assert len(answer["journal_failure"]) == LONGEST_ERROR


async def test_the_endpoints_are_told_with_why_they_are_not_well(tmp_path: Path) -> None:
    path = tmp_path / "admin" / "socket"
    async with ScriptedEndpoint([Status(401)]) as endpoint:
        config = endpoint_config(endpoint.url, admin_socket=str(path))
        async with Runtime(config, store=None) as runtime, administered(runtime):
            deployment = await runtime.start(mail(), name="mail")
            with pytest.raises(LMAuthError):
                await deployment(text="Win!")
            answer = await asyncio.to_thread(ask_endpoints, path)
    daemon = read_endpoints(path, answer)
    (line,) = daemon.endpoints
    assert (daemon.version, daemon.pid) == (__version__, os.getpid())
    assert (line.name, line.health, line.circuit) == ("default", "down", "open")
    assert (line.calls, line.failures, line.in_flight, line.waiting, line.concurrency) == (1, 1, 0, 0, None)
    shown = [text.plain for text in endpoint_lines(daemon, width=60)]
    assert shown[0] == f"repertory {__version__}, pid {os.getpid()}: 1 endpoints"
    assert shown[2].split() == [
        "ENDPOINT",
        "MODEL",
        "HEALTH",
        "CIRCUIT",
        "IN",
        "FLIGHT",
        "WAITING",
        "CALLS",
        "FAILED",
        "RETRIES",
    ]
    assert shown[3].split()[:4] == ["default", "scripted", "down", "open"]
    assert shown[4].startswith("  ! its circuit is open for another ")
    assert all(len(each) <= 60 for each in shown[4:])


async def test_before_the_runtime_is_entered_the_tree_is_empty() -> None:
    assert Runtime(make_config("test", {}), store=None).tree() == ()


async def test_other_paths_are_refused_as_everywhere(tmp_path: Path) -> None:
    path = tmp_path / "admin" / "socket"
    async with administered(Standing(path)), client_of(path) as client:
        async with client.get("/v1/programs") as response:
            assert response.status == 404
        async with client.post("/v1/tree") as response:
            assert response.status == 405
            assert (await response.json(content_type=None))["code"] == "method_not_allowed"


async def test_a_connection_that_asks_nothing_does_not_hold_up_the_end(tmp_path: Path) -> None:
    path = tmp_path / "admin" / "socket"
    async with administered(Standing(path)):
        reader, writer = await asyncio.open_unix_connection(str(path))
        async with client_of(path) as client, client.get("/v1/tree") as response:
            assert response.status == 200  # the connection before has been taken by now
    assert await reader.read() == b""
    writer.close()


async def test_without_a_path_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runtime = Runtime(make_config("test", {"server": {"admin_socket": ""}}))
    async with administered(runtime) as where:
        assert where is None
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("ValueError: no", "ValueError: no"),
        ("1 validation error for Row\nname\n  [input_value='J. Doe']", "1 validation error for Row"),
        ("\n  first\r\nsecond", "first"),
        ("a\x85b", "a"),
        ("", ""),
        ("x" * LONGEST_ERROR, "x" * LONGEST_ERROR),
        ("x" * (LONGEST_ERROR + 1), "x" * (LONGEST_ERROR - 1) + "…"),
        ("half a \ud800 pair", "half a ? pair"),
    ],
)
def test_an_error_is_one_short_line(error: str, told: str) -> None:
    assert shortened(error) == told
    assert described(actor(error=error))["last_error"] == told
