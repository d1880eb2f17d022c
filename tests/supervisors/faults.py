"""What the tests of faults share: all strategies, what each of them restarts, and starts that take their time."""

from typing import get_args

import pytest

from repertory.supervisors.decision import Strategy
from tests.actors.kernel import Gate, Hold
from tests.supervisors.tree import Child

under_all_strategies = pytest.mark.parametrize("strategy", get_args(Strategy))


def group_of(id: str, strategy: Strategy, ids: str = "abc") -> str:
    """Who is restarted with a child, itself included, in start order."""
    if strategy == "one_for_one":
        return id
    return ids if strategy == "one_for_all" else ids[ids.index(id) :]


def restart_log(id: str, strategy: Strategy, ids: str = "abc") -> list[object]:
    """What is logged, after the child's own end, until it and those restarted with it are back."""
    group = group_of(id, strategy, ids)
    siblings = [other for other in reversed(group) if other != id]
    return [*(f"-top/{other} shutdown" for other in siblings), *(f"+top/{other}" for other in group)]


class SlowInLife(Child):
    """One of its starts waits for a gate."""

    def __init__(self, log: list[object], gate: Gate, incarnation: int) -> None:
        super().__init__(log)
        self._gate = gate
        self._slow = incarnation

    async def started(self) -> None:
        if self.incarnation == self._slow:
            await self.hold(Hold(self._gate))
        await super().started()
