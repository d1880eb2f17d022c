"""`repertory runs`: what is known of runs, and what is said to them, with and without a daemon."""

import asyncio
import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from rich.console import Console

import repertory as rp
from repertory.cli.exit_codes import ExitCode
from repertory.cli.runs import RunsReport, parse_age
from repertory.errors import ConfigError, LMServerError, RunUnknown, WrongRunState
from repertory.runtime.runtime import Runtime
from repertory.testing import ScriptedLM
from tests.cli.command import DEADLINE, workplace
from tests.cli.test_ps_daemon import daemon
from tests.endpoint import Reply, Seen, Status, Step

MISSING = "0123456789abcdef0123456789abcdef"
CANARY = "\x1b[2J\N{SNOWMAN}"


class Waiting(rp.Module):
    """A step, and then a word from outside."""

    def __init__(self) -> None:
        self.judge = rp.Predict("text -> label")

    async def forward(self, text: str) -> rp.Prediction:
        first = await self.judge(text=text)
        return rp.Prediction(label=first.label, word=await rp.wait_for_signal("go"))


class Shown:
    """The command, asked within this process."""

    def __init__(self, store: Path, *, as_json: bool = False) -> None:
        self._text = io.StringIO()
        console = Console(file=self._text, width=80)
        self.report = RunsReport(console, None, str(store), as_json)

    @property
    def text(self) -> str:
        return self._text.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


async def made(store: Path) -> tuple[str, str]:
    """A store with a run that ended well and one that failed; their ids."""
    lm = ScriptedLM([json.dumps({"label": CANARY}), LMServerError(f"broken {CANARY}")])
    async with Runtime(lm=lm, store=store) as runtime:
        await runtime.start(rp.Predict("text -> label"), name="mail")
        ids = []
        for text in ("Win!", "Hi"):
            run = await runtime.submit("mail", {"text": text}, key=text, tags={"case": "1"})
            async with asyncio.timeout(DEADLINE):
                async for _ in run.events():
                    pass
            ids.append(run.id)
    return ids[0], ids[1]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def ids(store: Path) -> tuple[str, str]:
    return asyncio.run(made(store))


def test_runs_are_listed_with_whole_ids_however_narrow_the_terminal(store: Path, ids: tuple[str, str]) -> None:
    shown = Shown(store)
    assert shown.report.list(None, None, 20) is ExitCode.OK
    header, latest, first = (line.split() for line in shown.text.splitlines())
    assert header[:3] == ["RUN", "PROGRAM", "STATUS"]
    assert (latest[:3], first[:3]) == ([ids[1], "mail", "failed"], [ids[0], "mail", "ok"])


def test_runs_can_be_chosen_by_program_and_status(store: Path, ids: tuple[str, str]) -> None:
    failed = Shown(store, as_json=True)
    failed.report.list("mail", "failed", 20)
    assert [run["id"] for run in failed.lines] == [ids[1]]
    assert failed.lines[0]["error"]["code"] == "lm_server_error"
    others = Shown(store, as_json=True)
    others.report.list("post", None, 20)
    assert others.text == ""


def test_a_run_is_shown_whole_and_cannot_steer_the_terminal(store: Path, ids: tuple[str, str]) -> None:
    for id, status in zip(ids, ("ok", "failed"), strict=True):
        shown = Shown(store)
        shown.report.show(id)
        told = dict(line.split(maxsplit=1) for line in shown.text.splitlines())
        assert (told["run"], told["status"], told["tags"]) == (id, status, "case=1")
        assert "\x1b" not in shown.text
        as_json = Shown(store, as_json=True)
        as_json.report.show(id)
        assert as_json.lines[0]["status"] == status
        assert as_json.text.isascii()


def test_steps_and_events_of_a_run_are_shown(store: Path, ids: tuple[str, str]) -> None:
    steps = Shown(store, as_json=True)
    steps.report.steps(ids[0])
    assert [(step["number"], step["step"], step["outputs"]) for step in steps.lines] == [
        (0, "self", {"label": CANARY})
    ]
    table = Shown(store)
    table.report.steps(ids[1])
    assert "lm_server_error" in table.text
    events = Shown(store, as_json=True)
    events.report.events(ids[0], 0)
    assert [event["id"] for event in events.lines] == list(range(1, len(events.lines) + 1))
    later = Shown(store)
    later.report.events(ids[0], len(events.lines) - 1)
    assert later.text.split()[3] == "done"
    assert "\x1b" not in table.text


def test_what_may_have_been_billed_is_listed(store: Path, ids: tuple[str, str]) -> None:
    with closing(sqlite3.connect(store)) as disk, disk:
        disk.execute(
            "insert into uncertain_calls (run_id, event_id, endpoint, request_hash, nano_most, policy, found_at) "
            "values (?, 2, 'default', 'hash', 1500000, 'rebuy', 0)",
            [ids[0]],
        )
    for chosen in (None, ids[0]):
        shown = Shown(store)
        shown.report.uncertain(chosen, 10)
        _, line = shown.text.splitlines()
        assert line.split()[:5] == [ids[0], "2", "default", "$0.0015", "unknown"]
    other = Shown(store, as_json=True)
    other.report.uncertain(ids[1], 10)
    assert other.text == ""


def test_old_runs_are_removed(store: Path, ids: tuple[str, str]) -> None:
    kept = Shown(store)
    kept.report.prune("1h")
    assert "Removed 0 runs" in kept.text
    gone = Shown(store, as_json=True)
    gone.report.prune("0s")
    assert gone.lines[0]["removed"] == 2
    with pytest.raises(RunUnknown):
        Shown(store).report.show(ids[0])


@pytest.mark.parametrize(("text", "seconds"), [("30d", 2_592_000), ("12h", 43_200), ("1.5m", 90), ("0s", 0)])
def test_ages_have_a_unit(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["30", "d", "-1d", "1w", "1e9d", ""])
def test_an_age_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="a number and a unit"):
        parse_age(text)


def test_nothing_is_said_to_a_run_that_has_ended_or_is_none(store: Path, ids: tuple[str, str]) -> None:
    report = Shown(store).report
    for id, error in ((ids[0], WrongRunState), (MISSING, RunUnknown)):
        with pytest.raises(error):
            report.cancel(id)
        with pytest.raises(error):
            report.signal(id, "go", "1")
    with pytest.raises(ConfigError, match="is not JSON"):
        report.signal(ids[0], "go", "yes")


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        Shown(tmp_path / "no.db").report.list(None, None, 1)
    assert not any(tmp_path.iterdir())


def test_what_is_said_while_nobody_executes_the_run_is_heard_by_the_next_process(store: Path) -> None:
    lm = ScriptedLM(['{"label": "a"}'])

    async def begun() -> str:
        async with Runtime(lm=lm, store=store) as runtime:
            await runtime.start(Waiting(), name="wait")
            run = await runtime.submit("wait", {"text": "a"})
            async with asyncio.timeout(DEADLINE):
                async for event in run.events():
                    if event.kind == "step":
                        return run.id
        raise AssertionError("it has no step")

    async def end_of(id: str) -> rp.Prediction:
        async with Runtime(lm=lm, store=store) as runtime:
            await runtime.start(Waiting(), name="wait")
            return await (await runtime.find_run(id)).result(timeout=DEADLINE)

    id = asyncio.run(begun())
    Shown(store).report.signal(id, "go", '{"yes": true}')
    assert asyncio.run(end_of(id)).outputs == {"label": "a", "word": {"yes": True}}
    assert len(lm.requests) == 1


SETTINGS = """
[programs.wait]
source = "waiting.py:wait"
[server]
port = 0
auth = false
[log]
format = "json"
"""
PROGRAM = """
import repertory as rp

class Waiting(rp.Module):
    def __init__(self):
        self.judge = rp.Predict("text -> label")

    async def forward(self, text: str) -> rp.Prediction:
        word = await rp.wait_for_signal("go")
        label = await self.judge(text=text)
        return rp.Prediction(label=label.label, word=word)

wait = Waiting()
"""


async def test_a_running_daemon_hears_what_is_said_and_tries_again_what_failed(tmp_path: Path) -> None:
    well = asyncio.Event()

    def script(_: Seen) -> Step:
        return Reply('{"label": "a"}') if well.is_set() else Status(400)

    (tmp_path / "waiting.py").write_text(PROGRAM)
    async with (
        workplace(tmp_path, script, SETTINGS) as place,
        daemon(place) as (_, url),
        aiohttp.ClientSession(url) as client,
    ):

        async def end_of_log(id: str, after: int = 0) -> int:
            """The number of the event with which the run ended."""
            async with asyncio.timeout(DEADLINE):
                while True:
                    query = {"after": str(after), "wait": "30"}
                    async with client.get(f"/v1/runs/{id}/events", params=query) as response:
                        page = await response.json()
                    after = page["last"]
                    if page["ended"]:
                        return after

        async with client.post("/v1/programs/wait/runs", json={"text": "a"}) as response:
            id = (await response.json())["id"]
        shown = await place.call("ps")
        assert "runs: wait (1 submitted)" in shown.stdout
        async with client.get("/metrics") as response:
            assert 'repertory_runs_under_way{program="wait",state="submitted"} 1.0' in await response.text()

        told = await place.call("runs", "signal", id, "go", "-1", "--config", "config.toml")
        assert told.status == 0, told.stderr
        last = await end_of_log(id)
        shown = await place.call("runs", "list", "--status", "failed", "--json")
        assert json.loads(shown.stdout)["id"] == id

        well.set()
        retried = await place.call("runs", "retry", id, "config.toml")
        assert (retried.status, retried.stderr) == (0, "")
        await end_of_log(id, last)
        shown = await place.call("runs", "show", id, "--json")
        assert json.loads(shown.stdout)["outputs"] == {"label": "a", "word": -1}

        again = await place.call("runs", "retry", id)
        assert (again.status, again.stdout) == (2, "")
        assert "there is nothing to retry" in again.stderr
        unknown = await place.call("runs", "show", MISSING)
        assert unknown.status == 2
        assert MISSING in unknown.stderr
    nobody = await place.call("runs", "retry", id)
    assert nobody.status == 5
