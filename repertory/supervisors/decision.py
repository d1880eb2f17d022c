"""The restart decision: what follows when a child of a supervisor ends.

Semantics: Erlang/OTP ``supervisor``; EEP-56 for significant children. Nothing here waits, starts or stops
anything: the supervisor asks, then acts.
"""

from dataclasses import dataclass
from itertools import dropwhile
from typing import Literal, TypeAlias, get_args

from repertory.actors import Exit
from repertory.actors.spec import is_count, is_seconds, refuse
from repertory.errors import ConfigError
from repertory.supervisors.child import ChildSpec
from repertory.supervisors.intensity import RestartIntensity

Strategy: TypeAlias = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdown: TypeAlias = Literal["never", "any_significant", "all_significant"]
Standing: TypeAlias = Literal["running", "restarting", "waiting", "stopped"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a supervisor has to do, in this order.

    Attributes:
        stop: Whose lives to end, in reverse start order; messages go on waiting for those that ``start`` names.
        forget: Who is no child any more, among those stopped and the one that ended.
        keep: Who stays a child although it has ended and is not started again.
        start: Whom to start, in start order.
        later: Whose restart to resume later, after other messages or a wait.
        end: Whether the supervisor itself ends: it has seen too many restarts, or a significant child has ended.
    """

    stop: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()
    keep: str | None = None
    start: tuple[str, ...] = ()
    later: str | None = None
    end: Literal["give_up", "shut_down"] | None = None


GIVE_UP = Plan(end="give_up")


class Restarts:
    """The children of one supervisor, in start order, and what becomes of them.

    Invariants: ``specs`` holds exactly the children; ``_down`` those of them that have no life, or are about to
    lose it by a plan that starts them again.

    Args:
        strategy: Who is restarted with a child: nobody, all, or those that were started after it.
        auto_shutdown: Which end of significant children ends the supervisor.
        keeps: Whether a child that ends for good and is not temporary stays known.
        intensity: Counts the restarts; one of a whole group counts once.
    """

    def __init__(
        self,
        intensity: RestartIntensity,
        *,
        strategy: Strategy = "one_for_one",
        auto_shutdown: AutoShutdown = "never",
        keeps: bool = True,
    ) -> None:
        self.specs: dict[str, ChildSpec] = {}
        self._down: dict[str, Literal["restarting", "waiting", "stopped"]] = {}
        self._intensity = intensity
        self._strategy = strategy
        self._auto_shutdown = auto_shutdown
        self._keeps = keeps

    # --- what is told ---

    def add(self, id: str, spec: ChildSpec) -> None:
        """There is a further child, which takes messages or is about to."""
        self.specs[id] = spec

    def remove(self, id: str) -> None:
        """It is no child any more."""
        del self.specs[id]
        self._down.pop(id, None)

    def started(self, id: str) -> None:
        """The child takes messages."""
        self._down.pop(id, None)

    def stopped(self, id: str) -> bool:
        """The child was stopped on purpose, or said that it is not wanted; return whether it stays known."""
        if self._keeps and self.specs[id].restart != "temporary":
            self._down[id] = "stopped"
            return True
        self.remove(id)
        return False

    def standing(self, id: str) -> Standing:
        """How things stand with the child; a ``waiting`` one is started after a sibling that is restarting."""
        return self._down.get(id, "running")

    @property
    def running(self) -> int:
        """How many children take messages."""
        return len(self.specs) - len(self._down)

    # --- what is asked ---

    def ended(self, id: str, exit: Exit, *, later: bool = False) -> Plan:
        """The plan for when the life of a running child has ended by itself.

        Args:
            later: Whether a restart is to be resumed later instead of now.
        """
        spec = self.specs[id]
        if not spec.restarts_after(exit):
            return self._leave(id, spec)
        if not self._intensity.record():
            return GIVE_UP
        if later:
            self._down[id] = "restarting"
            return Plan(later=id)
        return self._restart(id)

    def start_failed(self, id: str, plan: Plan) -> Plan:
        """The plan for when ``id`` could not be started as ``plan`` said; those before it have been.

        The failed child is then the restarting one, and the group is tried again from there.
        """
        if not self._intensity.record():
            return GIVE_UP
        for other in plan.start:
            if self._down.get(other) == "restarting":
                self._down[other] = "waiting"
        self._down[id] = "restarting"
        return Plan(later=id)

    def call_off(self) -> list[str]:
        """No restart is to be resumed any more: the children that wait for one are stopped; return them."""
        waiting = [id for id, standing in self._down.items() if standing == "waiting"]
        self._down.update(dict.fromkeys(waiting, "stopped"))
        return waiting

    def resume(self, id: str) -> Plan:
        """The plan for when the time has come for a restart that was to be resumed later."""
        return self._restart(id)

    # --- inside ---

    def _leave(self, id: str, spec: ChildSpec) -> Plan:
        """The child has ended for good."""
        kept = self.stopped(id)
        end: Literal["shut_down"] | None = "shut_down" if self._ends_with(spec) else None
        return Plan(keep=id, end=end) if kept else Plan(forget=(id,), end=end)

    def _ends_with(self, spec: ChildSpec) -> bool:
        """Whether the supervisor ends because this child has."""
        if not spec.significant or self._auto_shutdown == "never":
            return False
        return self._auto_shutdown == "any_significant" or not any(
            other.significant and self._down.get(id) != "stopped" for id, other in self.specs.items()
        )

    def _restart(self, id: str) -> Plan:
        if self._strategy == "one_for_one":
            self._down[id] = "restarting"
            return Plan(start=(id,))
        group = list(self.specs)
        if self._strategy == "rest_for_one":
            group = list(dropwhile(lambda other: other != id, group))
        stop = tuple(other for other in reversed(group) if other != id and other not in self._down)
        forget = tuple(other for other in group if self.specs[other].restart == "temporary")
        for other in forget:
            self.remove(other)
        start = tuple(other for other in group if other in self.specs)
        for other in start:
            self._down[other] = "restarting"
        return Plan(stop=stop, forget=forget, start=start)


def check_flags(owner: str, strategy: str, auto_shutdown: str, intensity: int, period: float) -> None:
    """Raise ConfigError naming the flag of ``owner`` that cannot be."""
    for name, value, valid, wanted in (
        ("strategy", strategy, strategy in get_args(Strategy), _one_of(Strategy)),
        ("auto_shutdown", auto_shutdown, auto_shutdown in get_args(AutoShutdown), _one_of(AutoShutdown)),
        ("intensity", intensity, is_count(intensity, 0), "a whole number, 0 or more"),
        ("period", period, is_seconds(period, above=True), "seconds above 0"),
    ):
        if not valid:
            refuse(owner, name, value, wanted)


def check_significance(owner: str, id: str, spec: ChildSpec, auto_shutdown: AutoShutdown) -> None:
    """Raise ConfigError if the child is significant to a supervisor that does not care."""
    if spec.significant and auto_shutdown == "never":
        raise ConfigError(
            f"{owner}: its child {id!r} has significant = True, but auto_shutdown = 'never'",
            hint="Give the supervisor auto_shutdown='any_significant' or 'all_significant', or drop significant.",
        )


def _one_of(alias: object) -> str:
    return " or ".join(map(repr, get_args(alias)))
