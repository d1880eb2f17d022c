"""`repertory ps` and `repertory serve`, each a process of its own."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from tests.cli.command import DEADLINE, Workplace, end_of, kill, workplace
from tests.endpoint import Hang

SETTINGS = """
[programs.echo]
source = "program.py:echo"
replicas = 2
[server]
port = 0
auth = false
[log]
format = "json"
"""
SOCKET = ".repertory/store.db.admin/socket"


class Daemon(NamedTuple):
    process: asyncio.subprocess.Process
    url: str


@asynccontextmanager
async def daemon(place: Workplace) -> AsyncIterator[Daemon]:
    """A daemon that listens."""
    process = await place.start("serve", "config.toml")
    try:
        assert process.stderr is not None
        async with asyncio.timeout(DEADLINE):
            while (line := json.loads(await process.stderr.readline()))["event"] != "listening":
                pass
        assert line["admin_socket"] == str(place.path / SOCKET)
        yield Daemon(process, line["url"])
    finally:
        if process.returncode is None:
            await kill(process)


async def test_the_tree_of_a_running_daemon(tmp_path: Path) -> None:
    async with workplace(tmp_path, settings=SETTINGS) as place:
        async with daemon(place) as (process, _):
            shown = await place.call("ps")
            assert (shown.status, shown.stderr) == (0, "")
            lines = shown.stdout.splitlines()
            assert lines[0].startswith("repertory ")
            assert f"pid {process.pid}: " in lines[0]
            words = shown.stdout.split()
            assert {"root", "models", "programs", "echo", "pool", "parameters"} <= set(words)
            assert len([word for word in words if word.startswith("replica-")]) == 2

            data = json.loads((await place.call("ps", "config.toml", "--json")).stdout)
            assert data["pid"] == process.pid
            assert [root["path"] for root in data["actors"]] == ["root"]
            assert [child["path"] for child in data["actors"][0]["children"]] == [
                "root/memory",
                "root/models",
                "root/endpoints",
                "root/programs",
                "root/runs",
                "root/rollouts",
            ]

            place.environment["COLUMNS"] = "80"
            narrow = await place.call("ps", "--socket", SOCKET)
            assert max(map(len, narrow.stdout.splitlines())) <= 80

            process.send_signal(signal.SIGTERM)
            assert (await end_of(process)).status == 0
        assert not (tmp_path / SOCKET).exists()
        after = await place.call("ps", "--config", "config.toml")
        assert (after.status, after.stdout) == (5, "")
        assert f"no daemon answers at {tmp_path / SOCKET}" in after.stderr


async def test_an_operator_keeps_a_circuit_open_and_gives_it_back(tmp_path: Path) -> None:
    async with (
        workplace(tmp_path, settings=SETTINGS) as place,
        daemon(place) as (_, url),
        aiohttp.ClientSession(url) as client,
    ):
        kept = await place.call("circuit", "default", "open", "config.toml")
        assert kept.status == 0, kept.stderr
        assert "! an operator forced it open" in kept.stdout
        async with client.post("/v1/programs/echo/predict", json={"text": "a"}) as refused:
            assert (refused.status, (await refused.json())["code"]) == (503, "circuit_open")
        shown = json.loads((await place.call("ps", "--endpoints", "--json")).stdout)
        assert [(each["name"], each["circuit"]["forced"]) for each in shown["endpoints"]] == [("default", "open")]
        await place.call("circuit", "default", "auto")
        async with client.post("/v1/programs/echo/predict", json={"text": "a"}) as answered:
            assert answered.status == 200
        unknown = await place.call("circuit", "spare", "open")
        assert (unknown.status, unknown.stdout) == (2, "")
        assert "no endpoint of this name: spare" in unknown.stderr


async def test_it_answers_while_actors_are_busy(tmp_path: Path) -> None:
    async with (
        workplace(tmp_path, lambda _: Hang(), settings=SETTINGS) as place,
        daemon(place) as (_, url),
        aiohttp.ClientSession(url) as client,
    ):
        asking = asyncio.create_task(client.post("/v1/programs/echo/predict", json={"text": "a"}))
        await place.server.arrived.acquire()
        tree = json.loads((await place.call("ps", "--json")).stdout)
        busy = [actor for actor in everyone(tree["actors"]) if actor["handling"]]
        assert [actor["kind"] for actor in busy] == ["Predictor"]
        asking.cancel()
        await asyncio.wait({asking})


def everyone(actors: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for actor in actors:
        yield actor
        yield from everyone(actor["children"])


async def test_a_daemon_takes_over_from_a_killed_one_and_not_from_a_live_one(tmp_path: Path) -> None:
    async with workplace(tmp_path, settings=SETTINGS) as place:
        async with daemon(place) as (process, _):
            await kill(process)
        assert (tmp_path / SOCKET).is_socket()
        assert (await place.call("ps")).status == 5
        async with daemon(place) as (process, _):
            assert (await place.call("ps")).status == 0
            second = await place.call("serve", "config.toml")
            assert second.status == 2
            assert f"the admin socket {SOCKET} is in use: another daemon runs" in second.stderr
            assert f"pid {process.pid}" in (await place.call("ps")).stdout


async def test_a_reader_that_has_seen_enough(tmp_path: Path) -> None:
    async with workplace(tmp_path, settings=SETTINGS) as place, daemon(place):
        reading, writing = os.pipe()
        os.close(reading)
        try:
            ended = await end_of(await place.start("ps", stdout=writing))
        finally:
            os.close(writing)
        assert (ended.status, ended.stderr) == (0, "")
