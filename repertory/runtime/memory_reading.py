"""The memory there is and what is used of it, as the system tells it.

Control groups: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files and, for version 1,
https://docs.kernel.org/admin-guide/cgroup-v1/memory.html. What a group uses is counted as the kubelet counts it
(its "working set"): without the inactive pages of files, which the kernel drops before it kills anybody.
"""

import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from repertory.runtime.memory_levels import Reading

UNLIMITED = 2**62  # version 1 has no word for it, but a number of pages that no machine has
PEAK_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes of what getrusage(2) tells the peak in


@dataclass(frozen=True, slots=True)
class _Names:
    """What one version of control groups calls its files."""

    mount: str
    limits: tuple[str, ...]
    usage: str
    inactive: str  # in memory.stat


_VERSION_1: Final = _Names(
    "sys/fs/cgroup/memory", ("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"
)
# Above memory.high nobody is killed, but all of the group are slowed down until they are below it.
_VERSION_2: Final = _Names("sys/fs/cgroup", ("memory.max", "memory.high"), "memory.current", "inactive_file")


class MemoryReader:
    """Reads the memory, each time anew.

    Of all that may end the process it tells what is nearest to its limit: each control group that it is in; its
    own resident memory, of ``limit``; and of what it would have if it took all that the machine has left. Others'
    memory counts that far: on a machine that is full, but not by us, there is still nothing left to take.

    Args:
        limit: Most bytes of resident memory the process is to have; None: no more is known than the system tells.
        root: Where ``proc`` and ``sys`` are.
    """

    def __init__(self, limit: int | None = None, root: Path = Path("/")) -> None:
        self._limit = limit
        self._root = root
        self._peak = 0  # bytes

    def read(self) -> Reading | None:
        """What is used now; None: nobody can tell."""
        readings = list(self._readings())
        return max(readings, key=lambda reading: reading.share, default=None)

    def _readings(self) -> Iterator[Reading]:
        resident = _resident(self._root)
        if resident is None:
            if (reading := self._by_peak()) is not None:
                yield reading
            return
        if self._limit is not None:
            yield Reading(resident, self._limit)
        if (available := _available(self._root)) is not None:
            yield Reading(resident, resident + available)
        names, directories = _groups(self._root)
        for directory in directories:
            if (reading := _group_reading(directory, names)) is not None:
                yield reading

    def _by_peak(self) -> Reading | None:
        """Where there is no ``proc``: the most the process ever had, as long as that grows.

        A peak that does not grow says nothing of the present, and would hold a level for ever.
        """
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT
        grown, self._peak = peak > self._peak, peak
        limit = self._limit if self._limit is not None else _physical()
        return Reading(peak, limit) if grown and limit is not None else None


def _resident(root: Path) -> int | None:
    """Bytes of the process in memory."""
    try:
        return int(_text(root / "proc/self/statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def _available(root: Path) -> int | None:
    """Bytes of the machine that a process can still have without others being swapped out."""
    kibibytes = _entry(root / "proc/meminfo", "MemAvailable:")
    return kibibytes * 1024 if kibibytes is not None else None


def _physical() -> int | None:
    """Bytes of the machine."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None


def _groups(root: Path) -> tuple[_Names, list[Path]]:
    """The directories of the process's control group and of those that this is in, as far as they can be seen."""
    names, path = _VERSION_2, "/"
    try:
        for line in _text(root / "proc/self/cgroup").splitlines():
            _, controllers, group = line.split(":", 2)
            if "memory" in controllers.split(","):
                names, path = _VERSION_1, group
                break
            if not controllers:
                path = group
    except (OSError, ValueError):
        return names, []
    mount = root / names.mount
    group_directory = mount / path.lstrip("/")
    # A container may see its own group as the mount, though not under the name that the machine has for it.
    if ".." in group_directory.parts or not group_directory.is_dir():
        group_directory = mount
    above = [each for each in group_directory.parents if each.is_relative_to(mount)]
    return names, [group_directory, *above]


def _group_reading(directory: Path, names: _Names) -> Reading | None:
    limits = [limit for name in names.limits if 0 < (limit := _number(directory / name) or 0) < UNLIMITED]
    usage = _number(directory / names.usage)
    if not limits or usage is None:
        return None
    inactive = _entry(directory / "memory.stat", names.inactive) or 0
    return Reading(max(0, usage - inactive), min(limits))


def _number(path: Path) -> int | None:
    """What a file of one number says; None where it is missing, or says ``max``."""
    try:
        return int(_text(path))
    except (OSError, ValueError):
        return None


def _entry(path: Path, name: str) -> int | None:
    """The number behind ``name`` in a file of names and numbers."""
    try:
        for line in _text(path).splitlines():
            words = line.split()
            if words and words[0] == name:
                return int(words[1])
    except (OSError, ValueError, IndexError):
        pass
    return None


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii")
