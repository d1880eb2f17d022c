"""Owners on one machine: each holds the lock on a file of its own, which the kernel takes back from the dead.

flock(2): the lock belongs to the open file, so that two owners in one process are apart, and it is gone in the
moment in which the last process that has the file open ends, however that ends.
"""

import fcntl
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from repertory.errors import StoreError

_ID = re.compile("[0-9a-f]{32}")


class OwnerFiles:
    """One owner's file, among those of the others in a directory.

    Invariant: from `create` to `close` this holds the exclusive lock on the file that its path leads to. So a file
    that can be locked belongs to the dead, and an id without a file is of one that has gone.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def create(cls, directory: Path, id: str) -> "OwnerFiles":
        """Be there as ``id``, and remove what the dead have left behind. Raises StoreError."""
        try:
            directory.mkdir(exist_ok=True)
            owner = cls(directory / id, _locked(directory / id))
            for other in directory.iterdir():
                if _ID.fullmatch(other.name):
                    _is_dead(other)
        except OSError as error:
            raise StoreError(
                f"store: cannot lock {str(directory / id)!r}: {error.strerror}",
                hint="The directory of a store must be writable, on a disk of this machine.",
            ) from error
        return owner

    async def gone(self, ids: Collection[str]) -> set[str]:
        """As `Owners.gone`, which is known at once; their files are removed."""
        return {id for id in ids if _is_dead(self._path.with_name(id))}

    async def close(self) -> None:
        """As `Owners.close`."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(descriptor)


def _locked(path: Path) -> int:
    """A new file at ``path``, open and locked."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        with _closed_on_failure(descriptor):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Before it was locked, another may have taken it for a dead one's and removed it.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                    return descriptor
        os.close(descriptor)


@contextmanager
def _closed_on_failure(descriptor: int) -> Iterator[None]:
    try:
        yield
    except BaseException:
        os.close(descriptor)
        raise


def _is_dead(path: Path) -> bool:
    """Whether the owner whose file is at ``path`` certainly lives no more; if so, the file is removed."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    except PermissionError:
        return False  # another user's: nobody can tell
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
