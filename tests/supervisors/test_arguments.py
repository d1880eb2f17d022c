"""Arguments that cannot be: the error names the argument, its value and what it must be."""

from collections.abc import Callable
from math import inf, nan
from typing import Any

import pytest

from repertory.actors import ActorSpec, ActorSystem
from repertory.errors import ConfigError
from repertory.supervisors import (
    Backoff,
    ChildSpec,
    DynamicSupervisor,
    PartitionRef,
    PartitionSupervisor,
    Pool,
    Scaling,
    Supervisor,
)
from tests.supervisors.tree import Child, child

MAKERS: dict[str, Callable[..., object]] = {
    "ActorSpec": lambda **given: ActorSpec(**{"start": Child, **given}),
    "ChildSpec": lambda **given: ChildSpec(**{"start": Child, "id": "a", "restart": "transient", **given}),
    "Supervisor": Supervisor,
    "DynamicSupervisor": DynamicSupervisor,
    "Pool": lambda **given: Pool(Child, **given),
    "PartitionSupervisor": lambda **given: PartitionSupervisor(
        **{"child": child("worker"), "partitions": 2, **given}
    ),
    "Backoff": Backoff,
    "Scaling": Scaling,
}
NO_COUNTS = (True, 2.5, "5", nan)
NO_SECONDS = (True, "5", nan, inf, -1)
WRONG: list[tuple[str, str, tuple[object, ...]]] = [
    ("ActorSpec", "start", (None, "Child")),
    ("ActorSpec", "start_timeout", (*NO_SECONDS, 0, None)),
    ("ActorSpec", "concurrency", (*NO_COUNTS, 0, None)),
    ("ActorSpec", "mailbox", (*NO_COUNTS, 0, None)),
    ("ActorSpec", "overflow", ("block", None, ["wait"])),
    ("ActorSpec", "passivate_after", (*NO_SECONDS, 0)),
    ("ActorSpec", "lazy", ("x", 1, None)),
    ("ChildSpec", "id", ("", "a/b", 7, None)),
    ("ChildSpec", "restart", ("always", None)),
    ("ChildSpec", "shutdown", (*NO_SECONDS, "forever")),
    ("ChildSpec", "significant", ("no", 1, None)),
    ("Supervisor", "children", (child("a"), [Child], 3)),
    ("Supervisor", "strategy", ("all", None)),
    ("Supervisor", "auto_shutdown", ("always", None)),
    ("Supervisor", "intensity", (*NO_COUNTS, -1, None)),
    ("Supervisor", "period", (*NO_SECONDS, 0, None)),
    ("Supervisor", "backoff", (1, Backoff)),
    ("DynamicSupervisor", "template", (Child, "worker")),
    ("DynamicSupervisor", "max_children", (*NO_COUNTS, 0)),
    ("Pool", "replicas", (*NO_COUNTS, 0, None)),
    ("Pool", "max_replicas", (*NO_COUNTS, 0)),
    ("Pool", "scaling", (1, Scaling)),
    ("PartitionSupervisor", "child", (Child, None)),
    ("PartitionSupervisor", "partitions", (*NO_COUNTS, 0, None)),
    ("Backoff", "initial", (*NO_SECONDS, 0, None)),
    ("Backoff", "maximum", (*NO_SECONDS, 0.01, None)),
    ("Backoff", "factor", ("2", nan, 0.5, None)),
    ("Backoff", "jitter", ("0", nan, 2, None)),
    ("Scaling", "high", ("2", nan, 0, None)),
    ("Scaling", "low", ("1", nan, 0, 5, None)),
    ("Scaling", "up_after", (*NO_SECONDS, None)),
    ("Scaling", "down_after", (*NO_SECONDS, None)),
    ("Scaling", "every", (*NO_SECONDS, 0, None)),
]


@pytest.mark.parametrize(
    ("kind", "argument", "value"), [(kind, argument, value) for kind, argument, all in WRONG for value in all]
)
def test_an_argument_that_cannot_be_is_named(kind: str, argument: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        MAKERS[kind](**{argument: value})
    assert argument in caught.value.message
    assert repr(value) in caught.value.message or argument == "children"
    assert caught.value.hint


async def test_so_is_a_name_that_is_none(system: ActorSystem) -> None:
    for name in ("", 3, None):
        wrong: Any = name
        with pytest.raises(ConfigError, match=f"spawn: name = {name!r}"):
            await system.spawn(Child, name=wrong)
    with pytest.raises(ConfigError, match="PartitionRef: path = ''"):
        PartitionRef(system, "", 2)
