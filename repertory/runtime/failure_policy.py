"""What a failed step means for the other steps of its run.

Written ``strict``, ``tolerant``, ``threshold(3)`` or ``fallback`` in a configuration.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from repertory.errors import ConfigError

THRESHOLD = re.compile(r"threshold\(([0-9]{1,9})\)")


@dataclass(frozen=True, slots=True)
class Strict:
    """The first step that fails fails the run."""

    replaces: ClassVar[bool] = False

    def tolerates(self, failed: int) -> bool:
        """Whether the run goes on after so many of its steps have failed."""
        return False

    def __str__(self) -> str:
        return "strict"


@dataclass(frozen=True, slots=True)
class Tolerant:
    """Steps that depend on a failed one are skipped; all others go on."""

    replaces: ClassVar[bool] = False

    def tolerates(self, failed: int) -> bool:
        """Whether the run goes on after so many of its steps have failed."""
        return True

    def __str__(self) -> str:
        return "tolerant"


@dataclass(frozen=True, slots=True)
class Threshold:
    """Tolerant while at most ``failures`` steps have failed; the next that fails fails the run."""

    failures: int

    replaces: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.failures < 0:
            raise ConfigError(
                f"threshold: failures = {self.failures}: expected 0 or more",
                hint="It is how many failed steps the run bears: write threshold(3), for example.",
            )

    def tolerates(self, failed: int) -> bool:
        """Whether the run goes on after so many of its steps have failed."""
        return failed <= self.failures

    def __str__(self) -> str:
        return f"threshold({self.failures})"


@dataclass(frozen=True, slots=True)
class Fallback:
    """Strict, but a failed step that has a fallback is replaced by it, once."""

    replaces: ClassVar[bool] = True

    def tolerates(self, failed: int) -> bool:
        """Whether the run goes on after so many of its steps have failed, none of which had a fallback."""
        return False

    def __str__(self) -> str:
        return "fallback"


FailurePolicy: TypeAlias = Strict | Tolerant | Threshold | Fallback

STRICT = Strict()


def parse_failure_policy(text: str, field: str = "failure_policy") -> FailurePolicy:
    """Read a policy as a configuration has it; ``str`` of the policy is the text again.

    Args:
        field: Where the text stands, for the error.

    Raises ConfigError.
    """
    for policy in (STRICT, Tolerant(), Fallback()):
        if text == str(policy):
            return policy
    if found := THRESHOLD.fullmatch(text):
        return Threshold(int(found[1]))
    raise ConfigError(
        f"{field} = {text!r}: there is no such failure policy",
        hint='Write "strict", "tolerant", "fallback", or how many failed steps a run bears: "threshold(3)".',
    )
