"""The admin socket's place: its owner's alone, one daemon's at a time, taken over from the dead only."""

import os
import socket
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from repertory.errors import ConfigError
from repertory.runtime.config import make_config
from repertory.server.admin_socket import LONGEST, check_length, is_reserved, reserved


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client, suppress(ConnectionRefusedError):
        client.connect(str(path))
        return True
    return False


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({}, ".repertory/store.db.admin/socket"),
        ({"store": "/data/store.db"}, "/data/store.db.admin/socket"),
        ({"store": "postgresql://user:secret@host/base"}, ".repertory/store.db.admin/socket"),
        ({"server": {"admin_socket": "/run/repertory/a.sock"}}, "/run/repertory/a.sock"),
        ({"server": {"admin_socket": ""}}, None),
    ],
)
def test_where_it_is(values: dict[str, object], path: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REPERTORY_STORE", "REPERTORY_SERVER__ADMIN_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    assert make_config("test", values).admin_socket == (Path(path) if path is not None else None)


def test_the_environment_decides_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPERTORY_SERVER__ADMIN_SOCKET", "/run/x.sock")
    assert make_config("test", {"server": {"admin_socket": "y.sock"}}).admin_socket == Path("/run/x.sock")


def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "store.db.admin" / "socket"
    with reserved(path) as bound:
        assert mode_of(path) == 0o600
        assert mode_of(path.parent) == 0o700
        assert not connects(path)  # nobody can have come in before its mode was set
        bound.listen()
        assert connects(path)
    assert not path.exists()


def test_it_is_removed_wherever_the_process_has_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with reserved(Path("admin/socket")):
        assert (tmp_path / "admin/socket").exists()
        monkeypatch.chdir("/")
    assert not (tmp_path / "admin/socket").exists()


def test_that_of_a_live_daemon_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "admin" / "socket"
    with reserved(path) as bound:
        for _ in range(2):  # before it listens, and after
            with pytest.raises(ConfigError, match="is in use") as raised, reserved(path):
                pass
            assert "server.admin_socket" in str(raised.value)
            bound.listen()
        assert connects(path)


def test_whether_a_daemon_has_it_is_told_without_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "admin" / "socket"
    assert not is_reserved(path)
    with reserved(path):
        path.unlink()
        assert is_reserved(path)
    assert not is_reserved(path)


def test_who_asks_whether_a_daemon_has_it_does_not_keep_one_from_having_it(tmp_path: Path) -> None:
    path, enough = tmp_path / "admin" / "socket", threading.Event()
    with reserved(path):
        pass  # the lock's file is there from now on

    def ask() -> None:
        while not enough.is_set():
            is_reserved(path)

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for each in asking:
        each.start()
    try:
        for _ in range(300):
            with reserved(path):
                pass
    finally:
        enough.set()
        for each in asking:
            each.join()


def test_that_of_a_killed_daemon_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "admin" / "socket"
    code = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from repertory.server.admin_socket import reserved\n"
        "with reserved(Path(sys.argv[1])) as bound:\n"
        "    bound.listen()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    died = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert died.returncode == -9
    assert path.is_socket()
    with reserved(path) as bound:
        bound.listen()
        assert connects(path)


def test_that_of_another_service_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(ConfigError, match="is in use"), reserved(path):
            pass
        assert connects(path)


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="is that of something else"), reserved(path):
        pass
    assert path.read_text() == "mine"


def test_a_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    with pytest.raises(ConfigError, match="can be written by others") as raised, reserved(tmp_path / "socket"):
        pass
    assert f"chmod go-w {tmp_path}" in str(raised.value)
    assert not os.listdir(tmp_path)


def test_a_directory_that_is_shared_on_purpose_is_not_to_be_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(ConfigError, match="can be written by others") as raised, reserved(tmp_path / "socket"):
        pass
    assert "chmod" not in str(raised.value)
    advised = tmp_path / "repertory" / "socket"
    assert f"a directory of its own, such as {advised}" in str(raised.value)
    with reserved(advised):
        assert advised.is_socket()


def test_a_directory_that_cannot_be_made_is_named() -> None:
    path = Path("/proc/nowhere/socket")
    with pytest.raises(ConfigError, match=f"{path} cannot be made: ") as raised, reserved(path):
        pass
    assert 'to "" for none' in str(raised.value)


def test_the_longest_path_can_be_used_and_a_longer_one_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "a"
    longest = directory / _filled(LONGEST - len(os.fsencode(directory)) - 1)
    with reserved(longest):
        assert longest.is_socket()
    longer = longest.with_name(longest.name + "x")
    too_long = f"has {LONGEST + 1} bytes, and {LONGEST} are the most"
    with pytest.raises(ConfigError, match=too_long) as raised, reserved(longer):
        pass
    assert "server.admin_socket to a shorter one" in str(raised.value)


def test_a_path_is_measured_in_bytes() -> None:
    check_length(Path("e" * LONGEST))
    with pytest.raises(ConfigError, match=f"has {2 * LONGEST} bytes"):
        check_length(Path("é" * LONGEST))


def _filled(length: int) -> str:
    assert length > 0, "the directory of the tests is too deep for this test: set --basetemp=/tmp/x"
    return "s" * length
