"""What the runs of a program share, and where the calls of its predictors go."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from repertory.clock import Clock
from repertory.modules.options import DEFAULTS, ModuleOptions
from repertory.runtime.failure_policy import FailurePolicy
from repertory.runtime.predictor import VersionedParameters
from repertory.runtime.stage import Stage
from repertory.runtime.step_witness import UncertainPolicy
from repertory.runtime.working import Working
from repertory.supervisors import PoolRef

if TYPE_CHECKING:
    from repertory.runtime.run import RunContext


@dataclass(slots=True)
class Station:
    """Where the calls of one predictor go, and the snapshot of parameters they go with."""

    path: str
    pool: PoolRef
    options: ModuleOptions = DEFAULTS
    parameters: VersionedParameters = field(default_factory=VersionedParameters)

    def take(self, parameters: VersionedParameters) -> None:
        """Have later calls go with ``parameters``."""
        self.parameters = parameters


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the runs of a program share.

    Attributes:
        stations: By the identity of the predictor.
        options: Of modules that are no predictors and for which something is said, likewise.
        under_way: The runs there are at present.
        at_work: Holds off the end of the process.
        closing: Whether the actors are being stopped for good, so that a step they dropped is not given out again.
    """

    stations: Mapping[int, Station]
    options: Mapping[int, ModuleOptions]
    stage: Stage
    clock: Clock
    policy: FailurePolicy
    uncertain: UncertainPolicy
    under_way: "set[RunContext]"
    at_work: Working
    closing: Callable[[], bool]
