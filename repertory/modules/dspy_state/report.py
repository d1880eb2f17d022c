"""What became of each thing in a DSPy state."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from repertory.signatures.source import clipped

_NAMED: Final = 10  # predictors that an error names


def named(paths: Sequence[str]) -> str:
    """The predictors at ``paths`` for an error: the first ones, and how many more there are."""
    more = [f"and {len(paths) - _NAMED:,} more"] if len(paths) > _NAMED else []
    return ", ".join([*map(clipped, paths[:_NAMED]), *more])


Effect: TypeAlias = Literal["taken", "kept", "left", "skipped"]
"""``taken``: in effect here. ``kept``: DSPy does not put it into prompts either. ``left``: it has an effect in
DSPy and none here. ``skipped``: it does not fit the program. The last three come back in `dump_dspy_state`."""


@dataclass(frozen=True, slots=True)
class DspyChange:
    """One thing in the state of a predictor.

    Attributes:
        where: Its place in the state, such as ``demos[3].answer`` or ``signature.fields[1].description``.
        effect: What became of it.
        detail: The value it has here now; or why it has none.
        hint: What to do about it; "" where nothing is to be done.
    """

    where: str
    effect: Effect
    detail: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.effect} {self.where}: {self.detail}"


@dataclass(frozen=True, slots=True)
class DspyMatch:
    """A predictor in the state and the one of the program that it was taken for.

    Attributes:
        dspy_path: DSPy's name for it, such as ``steps[0].predict``.
        path: Ours, as in `Module.predictors`.
        how: ``position``: no names agreed, but their order, numbers and fields did.
    """

    dspy_path: str
    path: str
    how: Literal["name", "position"]
    changes: tuple[DspyChange, ...]

    def __str__(self) -> str:
        return "\n".join(
            [f"{clipped(self.dspy_path)} -> {self.path} (by {self.how})", *(f"  {one}" for one in self.changes)]
        )


@dataclass(frozen=True, slots=True)
class DspyReport:
    """What `Module.load_dspy_state` did.

    Attributes:
        source: The file; "state" for a mapping.
        version: The DSPy that wrote it; None where the state does not say.
        matches: In the program's order.
        unmatched_dspy: Predictors in the state that the program does not have.
        unmatched: Predictors of the program that are not in the state: they stay as declared.
        models: The language models that predictors in the state have of their own, by DSPy's addresses.
    """

    source: str
    version: str | None
    matches: tuple[DspyMatch, ...]
    unmatched_dspy: tuple[str, ...]
    unmatched: tuple[str, ...]
    models: frozenset[str] = frozenset()

    @property
    def complete(self) -> bool:
        """Whether all that has an effect in DSPy has one here."""
        lost = any(one.effect in ("left", "skipped") for match in self.matches for one in match.changes)
        return not (lost or self.unmatched_dspy or self.unmatched)

    def __str__(self) -> str:
        return "\n".join(
            [
                f"{self.source}, written by DSPy {self.version or 'of an unknown version'}",
                *map(str, self.matches),
                *(f"{clipped(path)}: the program has no such predictor" for path in self.unmatched_dspy),
                *(f"{path}: not in the state" for path in self.unmatched),
            ]
        )
