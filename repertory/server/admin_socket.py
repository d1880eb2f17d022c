"""The admin socket's place in the file system: taken by one daemon at a time, for its user alone.

The directory keeps others from putting a socket of theirs in its place; the socket's mode keeps them from asking.
"""

import errno
import fcntl
import os
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from repertory.errors import ConfigError

LONGEST: Final = 107 if sys.platform == "linux" else 103  # bytes; unix(7): `sun_path` without its closing zero
CHOOSE: Final = 'Set server.admin_socket to another path, or to "" for none.'


def check_length(path: Path) -> None:
    """Raise ConfigError if no Unix socket can have this path."""
    length = len(os.fsencode(path))
    if length > LONGEST:
        raise ConfigError(
            f"the admin socket's path has {length} bytes, and {LONGEST} are the most there can be: {path}",
            hint="Set server.admin_socket to a shorter one, such as /run/repertory/admin.sock.",
        )


@contextmanager
def reserved(path: Path) -> Iterator[socket.socket]:
    """A socket bound to ``path``, which is removed at the end; nobody can connect before it listens.

    A directory that is missing is made, for its owner alone. What a daemon that died left there is replaced: the
    lock beside it belongs to whoever lives, as the kernel takes it from the dead.

    Raises ConfigError if a live daemon, or something that is no socket, has the path, or it cannot be made safely.
    """
    check_length(path)
    whole = path.absolute()  # the process may change its directory before it removes the socket
    try:
        _make_directory(path.parent)
        lock = _lock_of(path).open("ab", buffering=0)
    except OSError as error:
        raise _unusable(path, error) from None
    with lock, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bound:
        try:
            _take(lock)
        except BlockingIOError:
            raise _in_use(path) from None
        except OSError as error:
            raise _unusable(path, error) from None
        try:
            _remove_stale(path)
            bound.bind(str(path))
        except OSError as error:
            raise _unusable(path, error) from None
        try:
            whole.chmod(0o600)  # before it listens: until then the kernel refuses everybody
            yield bound
        finally:
            with suppress(OSError):  # what cannot be removed is replaced by the next daemon
                whole.unlink()


def is_reserved(path: Path) -> bool:
    """Whether a live daemon has ``path``, even if the socket itself is gone; False where that cannot be told."""
    try:
        with _lock_of(path).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _take(lock: IO[bytes]) -> None:
    """Lock it for this process. Raises BlockingIOError if a live daemon has it."""
    while True:
        with suppress(BlockingIOError):
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It can be shared unless a daemon has it: then it was `is_reserved` that had it, for a moment.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)


def _make_directory(directory: Path) -> None:
    directory.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.stat()
    if found.st_uid not in (os.geteuid(), 0):
        raise ConfigError(f"the admin socket's directory {directory} belongs to another user", hint=CHOOSE)
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(
            f"the admin socket's directory {directory} can be written by others: they could replace the socket",
            hint=_remedy(directory, found.st_mode),
        )


def _remedy(directory: Path, mode: int) -> str:
    if mode & stat.S_ISVTX:  # shared on purpose, as /tmp is
        return f"Set server.admin_socket to a path in a directory of its own, such as {directory}/repertory/socket"
    return f"Run: chmod go-w {directory}   (or set server.admin_socket to a path in a directory of its own)"


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody listens on. Raises ConfigError if it is something else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"the admin socket's path {path} is that of something else", hint=CHOOSE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(str(path)) != errno.ECONNREFUSED:  # answered, or too busy to: it lives
            raise _in_use(path)
    path.unlink()


def _in_use(path: Path) -> ConfigError:
    return ConfigError(
        f"the admin socket {path} is in use: another daemon runs on this store",
        hint=f"repertory ps --socket {path} shows it. Stop it, or set server.admin_socket to another path.",
    )


def _unusable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"the admin socket {path} cannot be made: {error.strerror}", hint=CHOOSE)
