"""How a program is run, as its start says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, TypeAlias

from repertory.modules.options import ModuleOptions
from repertory.runtime.failure_policy import FailurePolicy
from repertory.runtime.step_witness import UncertainPolicy

ChangedPolicy: TypeAlias = Literal["refuse", "continue", "restart"]
"""What becomes of an interrupted run whose program's code is another one now: it is refused; it goes on, as far as
its recorded steps are still asked for; it begins anew, and what was recorded is not used."""


@dataclass(frozen=True, slots=True)
class ProgramOptions:
    """How a program is run; see `Runtime.start`."""

    replicas: int = 1
    concurrency: int = 64
    modules: Mapping[str, ModuleOptions] = field(default_factory=lambda: MappingProxyType({}))
    on_failure: FailurePolicy | str | None = None
    uncertain: UncertainPolicy = "rebuy"
    changed: ChangedPolicy = "refuse"
