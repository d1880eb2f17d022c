"""The graph of one run's steps: what each waits for, who began it, and what falls with one that fails."""

from collections.abc import Collection, Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from repertory.errors import RuntimeClosed, StepCancelled, StepSkipped
from repertory.runtime.failure_policy import FailurePolicy

Place: TypeAlias = Literal["blocked", "ready", "released", "running", "composite"]
"""Where a step is: waiting for other steps; waiting for its turn; free to start without one; under way; under way
but not counted, as it only waits for steps that it began."""


class Step:
    """A step that has not ended.

    Invariants: ``b`` is in ``a.dependents`` exactly if ``a`` is in ``b.missing``, and in ``a.children`` exactly if
    ``a`` is ``b.parent``. Whoever is a parent is under way.
    """

    __slots__ = (
        "children",
        "composite",
        "dependents",
        "failed_by",
        "has_fallback",
        "hurt",
        "missing",
        "number",
        "parent",
        "place",
        "weight",
    )

    def __init__(self, number: int, parent: "Step | None", composite: bool, fallback: bool, weight: float) -> None:
        self.number = number
        self.parent = parent  # the step that began it
        self.composite = composite  # never "running"
        self.has_fallback = fallback  # one that was not used yet
        self.weight = weight
        self.place: Place = "blocked"
        self.missing: dict[int, Step] | None = None  # what it waits for
        self.dependents: dict[int, Step] | None = None  # what waits for it
        self.children: dict[int, Step] | None = None  # what it began
        self.hurt = False  # whether a failure that was counted took a step of its own from it
        self.failed_by: int | None = None  # the step within it that failed it, which it has yet to say

    @property
    def under_way(self) -> bool:
        """Whether it has started."""
        return self.place == "running" or self.place == "composite"


class Loss(NamedTuple):
    """Why a step did not finish."""

    step: int  # the first of those that fell
    failed: bool  # else the program gave it up


class Fallen:
    """What a failure or a cancellation took along; the graph has forgotten these steps."""

    __slots__ = ("cancelled", "fails_run", "loss", "replaced", "skipped")

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self.skipped: list[Step] = []
        self.cancelled: list[Step] = []
        self.fails_run = False
        self.replaced = False


class StepGraph:
    """The steps of a run that have not ended.

    A step comes after steps of lower numbers only, so there is no cycle. Those that finished are forgotten: what a
    step comes after has finished where nothing is known of it. Where a step is placed is its scheduler's to say.

    Invariant: each step in ``steps`` waits only for others there, never for one that was lost.
    """

    __slots__ = ("_failed_by", "_failures", "_lost", "_policy", "steps")

    def __init__(self, policy: FailurePolicy) -> None:
        self.steps: dict[int, Step] = {}
        self._policy = policy
        self._lost: dict[int, Loss] | None = None  # steps that ended without finishing
        self._failures = 0  # steps that failed by themselves, not because one that they began had
        self._failed_by: int | None = None  # the step that failed the run

    def add(
        self,
        number: int,
        after: Collection[int],
        parent: int | None,
        composite: bool,
        has_fallback: bool,
        weight: float,
    ) -> Step:
        """Let there be a step.

        Raises StepSkipped, StepCancelled, RuntimeClosed; ValueError where the numbers cannot be right.
        """
        if number in self.steps:
            raise ValueError(f"step {number} is there already; a run numbers each of its steps once")
        if self._failed_by is not None:
            raise StepCancelled(number, self._failed_by)
        owner = None
        if parent is not None:
            owner = self.steps.get(parent)
            if owner is None:
                raise RuntimeClosed(
                    f"step {number}: step {parent}, which begins it, has ended",
                    hint="Await all that forward begins.",
                )
            if not owner.under_way:
                raise ValueError(f"step {number} cannot be begun by step {parent}, which has not started")
            if owner.failed_by is not None:
                raise StepCancelled(number, owner.failed_by)
        step = Step(number, owner, composite, has_fallback, weight)
        if after:
            missing = self._unfinished(number, owner, after)
            if missing:
                step.missing = missing
                for other in missing.values():
                    if other.dependents is None:
                        other.dependents = {}
                    other.dependents[number] = step
        if owner is not None:
            if owner.children is None:
                owner.children = {}
            owner.children[number] = step
        self.steps[number] = step
        return step

    def finish(self, step: Step) -> Sequence[Step]:
        """The step has its outcome; return those that waited for nothing else."""
        self._remove(step)
        if step.children:  # left behind: they are now as if begun by whoever began it
            for child in step.children.values():
                self._hand_over(child, step.parent)
        if not step.dependents:
            return ()
        unblocked = []
        for dependent in step.dependents.values():
            assert dependent.missing is not None
            del dependent.missing[step.number]
            if not dependent.missing:
                unblocked.append(dependent)
        return unblocked

    def fail(self, step: Step) -> Fallen:
        """The step failed: apply the policy."""
        fallen = Fallen(Loss(step.number, failed=True))
        if step.has_fallback and self._policy.replaces and step.under_way:
            step.has_fallback = False
            step.failed_by = None
            fallen.replaced = True
            self._cancel(_within(step), fallen)
            return fallen
        if not step.hurt:
            self._failures += 1
        self._fall(step, fallen)
        if self._failed_by is None and not self._policy.tolerates(self._failures):
            self._give_up(step, fallen)
        return fallen

    def cancel(self, step: Step) -> Fallen:
        """The program gave the step up."""
        fallen = Fallen(Loss(step.number, failed=False))
        self._fall(step, fallen)
        return fallen

    def _unfinished(self, number: int, owner: Step | None, after: Iterable[int]) -> dict[int, Step]:
        """Those of ``after`` that have not ended. Raises StepSkipped, ValueError."""
        missing: dict[int, Step] = {}
        for earlier in after:
            if earlier >= number:
                raise ValueError(
                    f"step {number} cannot come after step {earlier}; it comes after lower numbers only"
                )
            if (other := self.steps.get(earlier)) is not None:
                missing[earlier] = other
            elif self._lost and (loss := self._lost.get(earlier)) is not None:
                self._note_loss(number, owner, loss)
                raise StepSkipped(number, loss.step)
        return missing

    def _give_up(self, failed: Step, fallen: Fallen) -> None:
        """Cancel all steps of the run, or of the innermost step around the failed one that has a fallback.

        The steps around the failed one are spared: its error reaches them as their own.
        """
        spared: set[Step] = set()
        scope = failed.parent
        while scope is not None:
            scope.failed_by = failed.number
            if scope.has_fallback and self._policy.replaces:
                break
            spared.add(scope)
            scope = scope.parent
        if scope is None:
            self._failed_by = failed.number
            fallen.fails_run = True
        within = list(self.steps.values()) if scope is None else _within(scope)
        self._cancel([step for step in within if step not in spared], fallen)

    def _fall(self, step: Step, fallen: Fallen) -> None:
        """The step is lost: skip what depends on it, cancel what it began."""
        self._lose(step, fallen.loss)
        self._skip_dependents([step], fallen)
        self._cancel(_within(step), fallen)

    def _cancel(self, steps: list[Step], fallen: Fallen) -> None:
        for step in steps:
            self._lose(step, fallen.loss)
        fallen.cancelled += steps
        self._skip_dependents(steps, fallen)

    def _skip_dependents(self, lost: Iterable[Step], fallen: Fallen) -> None:
        """Skip what depends on these, and what depends on that; none of it has started."""
        stack = list(lost)
        while stack:
            dependents = stack.pop().dependents
            for step in list(dependents.values()) if dependents else ():
                self._lose(step, fallen.loss)
                fallen.skipped.append(step)
                stack.append(step)

    def _lose(self, step: Step, loss: Loss) -> None:
        """The step ended and did not finish."""
        self._remove(step)
        self._note_loss(step.number, step.parent, loss)

    def _note_loss(self, number: int, owner: Step | None, loss: Loss) -> None:
        if self._lost is None:
            self._lost = {}
        self._lost[number] = loss
        if owner is not None and loss.failed:
            owner.hurt = True

    def _remove(self, step: Step) -> None:
        del self.steps[step.number]
        if step.parent is not None:
            assert step.parent.children is not None
            del step.parent.children[step.number]
        if step.missing:
            for other in step.missing.values():
                assert other.dependents is not None
                del other.dependents[step.number]

    def _hand_over(self, child: Step, parent: Step | None) -> None:
        child.parent = parent
        if parent is not None:
            assert parent.children is not None
            parent.children[child.number] = child


def _within(scope: Step) -> list[Step]:
    """All that the step began, and what these began."""
    found: list[Step] = []
    stack = [scope]
    while stack:
        children = stack.pop().children
        if children:
            found += children.values()
            stack += children.values()
    return found
