"""`repertory ps`: what it asks, how it shows it, and what it says where there is nobody to ask."""

import io
import json
import os
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from repertory.cli.console import ReportConsole
from repertory.cli.daemon_client import Circuit, DaemonUnreachable, ProgramRuns, StepCounts, ask_tree, read_tree
from repertory.cli.main import main
from repertory.cli.ps import Report, socket_of
from repertory.errors import ConfigError
from repertory.server.admin_socket import reserved

NOBODY = 65534  # a user id that owns nothing
ACTOR: dict[str, Any] = {
    "path": "root",
    "kind": "Supervisor",
    "state": "running",
    "incarnation": 1,
    "restarts": 0,
    "age": 5.0,
    "mailbox": {"depth": 0, "high_water": 0, "waits": 0, "drops": 0},
    "handling": [],
    "last_error": None,
    "children": [],
}
TREE: dict[str, Any] = {
    "version": "0.1.0",
    "pid": 7,
    "journal_failure": None,
    "circuits": [],
    "runs": [],
    "steps": {"capacity": 4096, "runs": 0, "blocked": 0, "ready": 0, "under_way": 0, "composite": 0},
    "actors": [ACTOR],
}


def reply(body: object, status: str = "200 OK") -> bytes:
    text = json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n".encode() + text


@contextmanager
def answering(path: Path, replies: Sequence[bytes]) -> Iterator[None]:
    """A daemon's admin socket that answers each connection with the next of ``replies``, and then is gone."""

    def serve() -> None:
        for number, answer in enumerate(replies, 1):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                if number == len(replies):
                    listener.close()  # before its last answer: who has that finds nobody any more
                connection.sendall(answer)

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield
    thread.join()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "socket"


def report_on(path: Path, *, as_json: bool = False, **console: Any) -> tuple[Report, io.StringIO]:
    shown = io.StringIO()
    return Report(path, Console(file=shown, width=80, **console), as_json), shown


# --- asking ---


def test_the_answer_is_read(path: Path) -> None:
    child = ACTOR | {"path": "root/a", "age": None, "handling": ["Add"], "last_error": "E: x"}
    suffered = {
        "journal_failure": "disk full",
        "circuits": [{"endpoint": "default", "state": "open", "open_for": 41.5}],
        "runs": [{"program": "news", "called": 3, "submitted": 2, "beginning": 1}],
    }
    with answering(path, [reply(TREE | suffered | {"actors": [ACTOR | {"children": [child]}]})]):
        tree = read_tree(path, ask_tree(path))
    assert (tree.version, tree.pid, tree.journal_failure) == ("0.1.0", 7, "disk full")
    assert tree.circuits == (Circuit("default", "open", 41.5),)
    assert (tree.runs, tree.steps) == ((ProgramRuns("news", 3, 2, 1),), StepCounts(0, 0, 0))
    (actor,) = tree.actors[0].children
    assert (actor.path, actor.age, actor.handling, actor.last_error) == ("root/a", None, ("Add",), "E: x")


def gone(path: Path) -> None:
    pass


def stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def plain_file(path: Path) -> None:
    path.touch()


@pytest.mark.parametrize("make", [gone, stale, plain_file])
def test_a_daemon_that_is_not_running(path: Path, make: Any) -> None:
    make(path)
    with pytest.raises(DaemonUnreachable, match=f"no daemon answers at {path}") as raised:
        ask_tree(path)
    assert "Start one: repertory serve CONFIG" in str(raised.value)


def test_a_daemon_whose_socket_was_removed(tmp_path: Path) -> None:
    path = tmp_path / "admin" / "socket"
    with reserved(path):
        path.unlink()
        with pytest.raises(
            DaemonUnreachable, match=f"a daemon runs, but its admin socket {path} is gone"
        ) as raised:
            ask_tree(path)
    assert f"{path} is gone" in raised.value.message
    assert "Restart the daemon" in str(raised.value)
    assert "Start one" not in str(raised.value)


def test_a_daemon_whose_loop_is_blocked_is_told_from_one_that_is_not_running(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as blocked:
        blocked.bind(str(path))
        blocked.listen()
        with pytest.raises(DaemonUnreachable, match="its event loop is blocked") as raised:
            ask_tree(path, timeout=0.01)
    assert str(path) in raised.value.message
    if sys.platform == "linux":
        assert f"(pid {os.getpid()})" in raised.value.message
        assert f"py-spy dump --pid {os.getpid()}" in str(raised.value)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (b"", "gave no answer"),
        (b"SSH-2.0-x\r\n", "gave no answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "gave no answer"),
        (reply({}, "404 Not Found"), "status 404"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n<", "no JSON"),
        (reply([]), "not the tree of this version"),
        (reply(TREE | {"actors": [{"path": "root"}]}), "not the tree of this version"),
        (reply(TREE | {"circuits": [{}]}), "not the tree of this version"),
        (reply(TREE | {"runs": [{}]}), "not the tree of this version"),
        (reply(TREE | {"pid": None}), "not the tree of this version"),
    ],
)
def test_what_is_no_daemon(path: Path, answer: bytes, what: str) -> None:
    with answering(path, [answer]), pytest.raises(DaemonUnreachable, match=what) as raised:
        read_tree(path, ask_tree(path))
    assert str(path) in raised.value.message


def test_a_socket_whose_path_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="are the most there can be"):
        ask_tree(tmp_path / ("s" * 108))


@contextmanager
def unprivileged() -> Iterator[None]:
    """Without root's leave to use every socket, if the tests have it."""
    user = os.geteuid()
    os.seteuid(user or NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_socket_of_another_user(path: Path) -> None:
    stale(path)
    path.chmod(0)
    with unprivileged(), pytest.raises(DaemonUnreachable, match="is not yours to use"):
        ask_tree(path)


# --- which socket ---


def test_which_socket_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REPERTORY_STORE", "REPERTORY_SERVER__ADMIN_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "c.toml"
    config.write_text('store = "here.db"')
    assert socket_of(None, None) == Path(".repertory/store.db.admin/socket")
    assert socket_of(config, None) == Path("here.db.admin/socket")
    assert socket_of(None, Path("x.sock")) == Path("x.sock")
    with pytest.raises(ConfigError, match="one too many"):
        socket_of(config, Path("x.sock"))
    config.write_text('[server]\nadmin_socket = ""')
    with pytest.raises(ConfigError, match="the daemon has no admin socket"):
        socket_of(config, None)


# --- showing ---


def test_without_a_terminal_it_is_plain(path: Path) -> None:
    report, shown = report_on(path)
    with answering(path, [reply(TREE)]):
        assert report.once() == 0
    assert shown.getvalue().startswith("repertory 0.1.0, pid 7: 1 actors (1 running)")
    assert "\x1b" not in shown.getvalue()


def test_on_a_terminal_it_is_coloured(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    report, shown = report_on(path, force_terminal=True, color_system="standard")
    with answering(path, [reply(TREE)]):
        report.once()
    assert "\x1b[32mrunning\x1b[0m" in shown.getvalue()


def test_json_is_the_data_as_it_came(path: Path) -> None:
    odd = TREE | {"later": "\x9bé", "actors": [ACTOR | {"path": "[red]" + "x" * 200}]}
    report, shown = report_on(path, as_json=True)
    with answering(path, [reply(odd)]):
        report.once()
    assert json.loads(shown.getvalue()) == odd
    assert shown.getvalue().isascii()


class Pauses:
    """Counts the pauses of a watch, and ends it at the last as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_a_watch_shows_it_again_and_waits_for_a_daemon_that_ended(path: Path) -> None:
    report, shown = report_on(path)
    pauses = Pauses(3)
    with answering(path, [reply(TREE), reply(TREE | {"pid": 8})]):
        assert report.watch(2.5, pauses) == 0
    assert pauses.seconds == [2.5] * 3
    text = shown.getvalue()
    assert text.index("pid 7") < text.index("pid 8") < text.index("no daemon answers at")
    assert "every 2.5 s; Ctrl-C ends" in text


def test_a_watch_of_nobody_ends_at_once(path: Path) -> None:
    with pytest.raises(DaemonUnreachable):
        report_on(path)[0].watch(1, Pauses(1))


def test_a_watch_in_json_has_one_line_each_time(path: Path) -> None:
    report, shown = report_on(path, as_json=True)
    with answering(path, [reply(TREE)]):
        report.watch(1, Pauses(2))
    first, second = map(json.loads, shown.getvalue().splitlines())
    assert first == TREE
    assert "no daemon answers" in second["error"]


def test_a_watch_on_a_small_terminal_says_what_it_leaves_out(path: Path) -> None:
    many = TREE | {"actors": [ACTOR | {"path": str(number)} for number in range(30)]}
    report, shown = report_on(path, force_terminal=True, height=10, no_color=True)
    with answering(path, [reply(many)]):
        report.watch(1, Pauses(1))
    lines = shown.getvalue().splitlines()
    assert len(lines) == 9
    assert "26 more lines" in lines[-1]


def test_a_reader_that_leaves_ends_it_in_peace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        with pytest.raises(SystemExit) as ended:
            ReportConsole().print("x")
        assert ended.value.code == 0
        stdout.write("what is flushed at the end of the process")


def test_what_the_terminal_cannot_show_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    bytes_ = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(bytes_, encoding="ascii", write_through=True))
    ReportConsole().print("└ a")
    assert bytes_.getvalue() == b"? a\n"


def test_the_exit_status_says_that_there_is_no_daemon(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["repertory", "ps", "--socket", str(path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 5
    assert capsys.readouterr().err.startswith(f"error: no daemon answers at {path}\n  Start one: ")
