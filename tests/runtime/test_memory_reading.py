"""What the system tells of memory: from directories of files, and from the machine the tests run on."""

import os
import resource
from pathlib import Path

import pytest

from repertory.runtime.memory_levels import Reading
from repertory.runtime.memory_reading import PEAK_UNIT, MemoryReader
from repertory.runtime.memory_trim import trim

PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 2**20
GIB = 2**30


class Machine:
    """The files of a machine with 8 GiB left, on which the process has 100 MiB."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("proc/self/statm", f"90000 {100 * MIB // PAGE} 2000 1 0 30000 0\n")
        self.write("proc/meminfo", f"MemTotal: {16 * MIB} kB\nMemFree: 500 kB\nMemAvailable:    {8 * MIB} kB\n")
        self.write("proc/self/cgroup", "0::/\n")

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def group(
        self, path: str, *, maximum: int | str, current: int, inactive: int = 0, high: int | str = "max"
    ) -> None:
        """A control group of version 2."""
        directory = f"sys/fs/cgroup/{path}"
        self.write(f"{directory}/memory.max", f"{maximum}\n")
        self.write(f"{directory}/memory.high", f"{high}\n")
        self.write(f"{directory}/memory.current", f"{current}\n")
        self.write(f"{directory}/memory.stat", f"anon 5\ninactive_anon 7\ninactive_file {inactive}\nfile 9\n")

    def old_group(self, path: str, *, limit: int, usage: int, inactive: int = 0) -> None:
        """A control group of version 1."""
        directory = f"sys/fs/cgroup/memory/{path}"
        self.write(f"{directory}/memory.limit_in_bytes", f"{limit}\n")
        self.write(f"{directory}/memory.usage_in_bytes", f"{usage}\n")
        self.write(f"{directory}/memory.stat", f"inactive_file 3\ntotal_inactive_file {inactive}\n")

    def read(self, limit: int | None = None) -> Reading | None:
        return MemoryReader(limit, self.root).read()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# --- the machine ---------------------------------------------------------------------------------------------


def test_without_a_limit_it_is_what_the_process_has_of_what_it_could_have(machine: Machine) -> None:
    assert machine.read() == Reading(100 * MIB, 100 * MIB + 8 * GIB)


def test_on_a_machine_that_others_fill_little_is_much(machine: Machine) -> None:
    machine.write("proc/meminfo", f"MemTotal: 16000000 kB\nMemAvailable: {10 * 1024} kB\n")
    assert machine.read() == Reading(100 * MIB, 110 * MIB)


def test_a_limit_that_is_given_bounds_the_process_itself(machine: Machine) -> None:
    assert machine.read(limit=128 * MIB) == Reading(100 * MIB, 128 * MIB)


def test_a_kernel_that_tells_less_is_no_error(machine: Machine) -> None:
    machine.write("proc/meminfo", "MemTotal: 16000000 kB\n")
    assert machine.read() is None
    assert machine.read(limit=GIB) == Reading(100 * MIB, GIB)


# --- control groups, version 2 -------------------------------------------------------------------------------


def test_a_container_sees_its_group_as_the_root(machine: Machine) -> None:
    machine.group("", maximum=512 * MIB, current=300 * MIB, inactive=50 * MIB)
    assert machine.read() == Reading(250 * MIB, 512 * MIB)


def test_the_group_nearest_to_its_limit_counts(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "0::/system.slice/app.service\n")
    machine.group("system.slice", maximum=GIB, current=900 * MIB)
    machine.group("system.slice/app.service", maximum=400 * MIB, current=200 * MIB)
    assert machine.read() == Reading(900 * MIB, GIB)
    machine.group("system.slice/app.service", maximum=400 * MIB, current=390 * MIB)
    assert machine.read() == Reading(390 * MIB, 400 * MIB)


def test_the_bound_at_which_a_group_is_slowed_down_counts_too(machine: Machine) -> None:
    machine.group("", maximum=512 * MIB, high=400 * MIB, current=300 * MIB)
    assert machine.read() == Reading(300 * MIB, 400 * MIB)


def test_a_group_without_a_limit_says_nothing(machine: Machine) -> None:
    machine.group("", maximum="max", current=10 * GIB)
    assert machine.read() == Reading(100 * MIB, 100 * MIB + 8 * GIB)


@pytest.mark.parametrize("seen_as", ["/docker/0a1b", "/../../elsewhere"])
def test_a_group_under_a_name_that_cannot_be_followed_is_the_root_as_seen_from_within(
    machine: Machine, seen_as: str
) -> None:
    machine.write("proc/self/cgroup", f"0::{seen_as}\n")
    machine.group("", maximum=512 * MIB, current=300 * MIB)
    assert machine.read() == Reading(300 * MIB, 512 * MIB)


# --- control groups, version 1 -------------------------------------------------------------------------------


def test_the_older_version_is_read_where_it_has_the_memory(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/jobs/one\n0::/init.scope\n")
    machine.old_group("", limit=9223372036854771712, usage=14 * GIB)
    machine.old_group("jobs", limit=2 * GIB, usage=GIB)
    machine.old_group("jobs/one", limit=GIB, usage=900 * MIB, inactive=100 * MIB)
    assert machine.read() == Reading(800 * MIB, GIB)


# --- what goes wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["memory.max", "memory.current", "memory.stat"])
def test_a_file_that_cannot_be_read_is_no_error(machine: Machine, file: str) -> None:
    machine.group("", maximum=512 * MIB, current=300 * MIB)
    machine.write(f"sys/fs/cgroup/{file}", "what?\ninactive_file\n")
    assert machine.read() in (Reading(300 * MIB, 512 * MIB), Reading(100 * MIB, 100 * MIB + 8 * GIB))


def test_without_proc_the_peak_counts_while_it_grows(tmp_path: Path) -> None:
    reader = MemoryReader(limit=64 * GIB, root=tmp_path)
    reading = reader.read()
    assert reading is not None
    assert reading.limit == 64 * GIB
    assert MIB < reading.used <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT
    peak = reading.used
    ballast = b"x" * peak  # on top of what there is
    grown = reader.read()
    assert grown is not None
    assert grown.used > peak
    del ballast
    assert reader.read() is None


def test_without_proc_and_limit_there_is_the_machine(tmp_path: Path) -> None:
    reading = MemoryReader(root=tmp_path).read()
    assert reading is not None
    assert reading.limit == PAGE * os.sysconf("SC_PHYS_PAGES")


# --- the real machine ----------------------------------------------------------------------------------------

linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="there is no /proc: run it on Linux")


@linux
def test_this_machine_tells(request: pytest.FixtureRequest) -> None:
    reading = MemoryReader().read()
    assert reading is not None
    assert MIB < reading.used < reading.limit


@linux
def test_what_this_process_takes_is_seen_and_what_it_gives_back_too() -> None:
    reader = MemoryReader(limit=1)  # nearer to its limit than anything else: the process itself
    trim()  # or the ballast would find room in what earlier tests have left
    before = _used(reader)
    ballast: list[bytes] | None = [os.urandom(2048) for _ in range(32 * 512)]
    assert _used(reader) - before > 30 * MIB
    del ballast
    trim()
    assert _used(reader) - before < 10 * MIB


def _used(reader: MemoryReader) -> int:
    reading = reader.read()
    assert reading is not None
    return reading.used
