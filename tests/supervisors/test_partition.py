"""Which of several equal children is in charge of a key."""

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis.strategies import binary, integers, one_of, text

from repertory.actors import ActorSystem
from repertory.errors import ConfigError
from repertory.supervisors import PartitionRef, PartitionSupervisor, StartChild, tree
from repertory.supervisors.partition import Key, partition_of
from tests.actors.kernel import Echo
from tests.supervisors.tree import ABNORMAL, Child, child, end, restarts, statuses

keys = one_of(text(), integers(), binary())


@given(key=keys, partitions=integers(1, 1000))
def test_a_key_has_one_partition(key: Key, partitions: int) -> None:
    number = partition_of(key, partitions)
    assert 0 <= number < partitions
    assert number == partition_of(key, partitions)


@given(text=text(), number=integers())
def test_a_text_its_bytes_and_a_number_that_reads_like_it_are_different_keys(text: str, number: int) -> None:
    many = 1 << 32  # as many as there are hashes
    data = text.encode("utf-8", "surrogatepass")
    assert partition_of(text, many) != partition_of(data, many)
    assert partition_of(number, many) != partition_of(str(number), many)


def test_partitions_are_the_same_in_every_process_and_release() -> None:
    known = {"a": 7, "user/42": 10, "": 1, 0: 13, 42: 12, -1: 12, b"a": 2, "Grüße": 2}
    assert {key: partition_of(key, 16) for key in known} == known  # type: ignore[arg-type]  # mixed keys
    code = "from repertory.supervisors.partition import partition_of; print(partition_of('user/42', 16))"
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert told == {b"10\n"}


@pytest.mark.parametrize("partitions", [2, 3, 8, 10, 64])
@pytest.mark.parametrize("kind", [int, str, lambda number: f"tenant-{number}", lambda number: b"%08d" % number])
def test_similar_keys_are_spread_evenly(kind: type, partitions: int) -> None:
    numbers = 1000 * partitions
    shares = Counter(partition_of(kind(number), partitions) for number in range(numbers))
    assert len(shares) == partitions
    assert max(shares.values()) < 1.3 * 1000
    assert min(shares.values()) > 0.7 * 1000


def test_a_key_without_a_canonical_form_is_refused() -> None:
    with pytest.raises(TypeError, match=r"partition key 1\.5 is a float; use a str, an int or bytes"):
        partition_of(1.5, 4)  # type: ignore[arg-type]  # wrong on purpose


async def test_a_key_is_always_with_the_same_child(system: ActorSystem) -> None:
    log: list[object] = []

    class Telling(Child):
        async def echo(self, message: Echo) -> int:
            log.append(self.path)
            return message.value

    await system.spawn(lambda: PartitionSupervisor(child("any"), partitions=2), name="other")
    top = await system.spawn(
        lambda: PartitionSupervisor(child("any").with_arguments(()), partitions=4), name="parts"
    )
    assert [info.path for info in tree(system)[1].children] == [f"parts/{number}" for number in range(4)]
    ref = PartitionRef(system, "parts", 4)
    path = ref.for_key("user/42").path
    assert path == f"parts/{partition_of('user/42', 4)}"
    await end(ref.for_key("user/42"), ABNORMAL)
    assert await ref.for_key("user/42").ask(Echo(1)) == 1
    assert sum((await restarts(top)).values()) == 1
    assert (await restarts(top))[path.rpartition("/")[2]] == 1


async def test_no_other_child_is_started_beside_the_partitions(system: ActorSystem) -> None:
    top = await system.spawn(lambda: PartitionSupervisor(child("worker"), partitions=2), name="top")
    with pytest.raises(ConfigError, match="top: the number of partitions is fixed"):
        await top.ask(StartChild(child("stranger")))
    assert await statuses(top) == {"0": "running", "1": "running"}
