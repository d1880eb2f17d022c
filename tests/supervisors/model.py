"""A supervisor as OTP's manual describes it: a list of children, a list of restart times, and the rules.

It knows nothing of actors or tasks, and nothing of how `repertory.supervisors` decides. Time is told to it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from repertory.errors import (
    ActorDown,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    ConfigError,
    NameTaken,
    StartFailed,
)
from repertory.supervisors.child import Restart
from repertory.supervisors.decision import AutoShutdown, Strategy

StartOutcome: TypeAlias = Literal["ok", "fail", "ignore"]
Answer: TypeAlias = str | bool | type[Exception] | list[tuple[str, str]]


@dataclass(eq=False)
class Kid:
    """A child: ``status`` is what its supervisor thinks, ``alive`` what is the case."""

    id: str
    restart: Restart = "permanent"
    significant: bool = False
    status: Literal["running", "restarting", "waiting", "stopped"] = "running"
    alive: bool = False
    restarts: int = 0


@dataclass
class Model:
    """One supervisor from its start to its end.

    Attributes:
        delay: Seconds between an end and the restart; None: at once.
        now: Seconds; only multiples of ``tick`` count for the intensity.
        script: How the next starts turn out; those after it succeed.
        gone: Why there is no supervisor any more.
    """

    strategy: Strategy
    intensity: int
    period: float
    auto_shutdown: AutoShutdown
    delay: float | None
    tick: float
    now: float = 0.0
    kids: list[Kid] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    script: list[StartOutcome] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    ends: list[tuple[Kid, bool]] = field(default_factory=list)
    retries: list[tuple[float, Kid, Kid]] = field(default_factory=list)
    restarted: int = 0
    failed: int = 0
    gone: Literal["start_failed", "gave_up", "shut_down", "stopped"] | None = None

    # --- what happens to it ---

    def start(self, kids: Sequence[Kid]) -> None:
        """Start in order; where one fails, stop those before it in reverse."""
        for kid in kids:
            self.kids.append(kid)
            if not self._begin(kid):
                self._end("start_failed")
                return
            if kid.status == "stopped" and kid.restart == "temporary":
                self.kids.remove(kid)

    def dies(self, id: str, kind: str) -> bool:
        """A child ends by itself; return whether there was one alive."""
        kid = self._find(id)
        if kid is None or not kid.alive:
            return False
        kid.alive = False
        self.log.append(f"-top/{id} {kind}")
        self.ends.append((kid, kind == "error"))
        return True

    def stop(self) -> None:
        """It is asked to stop."""
        self._end("stopped")

    def settle(self) -> None:
        """Do all that is to be done at this moment: first the ends, then the restarts that were put off."""
        while self.gone is None:
            due = [entry for entry in self.retries if entry[0] <= self.now]
            if self.ends:
                self.heed_ends()
            elif due:
                entry = min(due, key=lambda entry: entry[0])
                self.retries.remove(entry)
                self._restart(entry[1], entry[2])
            else:
                break

    def advance(self, seconds: float) -> None:
        """Let time pass, and what is due then happen when it is due."""
        until = self.now + seconds
        while self.gone is None and (due := min((at for at, _, _ in self.retries), default=until)) < until:
            self.now = due
            self.settle()
        self.now = until

    def heed_ends(self) -> None:
        """Deal with the children that have ended, in their order."""
        while self.ends and self.gone is None:
            kid, abnormal = self.ends.pop(0)
            # Not one that was stopped or started again meanwhile, together with a sibling.
            if kid in self.kids and kid.status == "running" and not kid.alive:
                self._ended(kid, abnormal)

    # --- what is asked of it ---

    def ask(self, request: str, kid: Kid) -> Answer:
        """The answer to a request about the child of that id."""
        if self.gone is not None:
            return ActorDown
        requests: dict[str, Callable[[Kid], Answer]] = {
            "start": self._start_child,
            "terminate": self._terminate_child,
            "restart": self._restart_child,
            "delete": self._delete_child,
            "stop": self._stop_child,
            "which": lambda _: [(kid.id, kid.status) for kid in self.kids],
        }
        return requests[request](kid)

    def _start_child(self, kid: Kid) -> Answer:
        if kid.significant and self.auto_shutdown == "never":
            return ConfigError
        if self._find(kid.id) is not None:
            return NameTaken
        if not self._begin(kid):
            return StartFailed
        if kid.status == "running" or kid.restart != "temporary":
            self.kids.append(kid)
        return "done"

    def _terminate_child(self, named: Kid) -> Answer:
        kid = self._find(named.id)
        if kid is None:
            return ChildNotFound
        self._shut(kid)
        kid.status = "stopped"
        self._give_up_on(kid)
        if kid.restart == "temporary":
            self.kids.remove(kid)
        return "done"

    def _restart_child(self, named: Kid) -> Answer:
        kid = self._find(named.id)
        refusal = self._refusal(kid)
        if kid is None or refusal is not None:
            return refusal or ChildNotFound
        return "done" if self._begin(kid) else StartFailed

    def _delete_child(self, named: Kid) -> Answer:
        kid = self._find(named.id)
        refusal = self._refusal(kid)
        if kid is None or refusal is not None:
            return refusal or ChildNotFound
        self.kids.remove(kid)
        return "done"

    def _stop_child(self, named: Kid) -> Answer:
        kid = self._find(named.id)
        if kid is None:
            return False
        self._shut(kid)
        self._give_up_on(kid)
        self.kids.remove(kid)
        return True

    def _refusal(self, kid: Kid | None) -> type[Exception] | None:
        if kid is None or kid.status in ("stopped", "waiting"):
            return None
        return ChildRunning if kid.status == "running" else ChildRestarting

    # --- the rules ---

    def _ended(self, kid: Kid, abnormal: bool) -> None:
        if kid.restart == "permanent" or (kid.restart == "transient" and abnormal):
            if not self._tolerable():
                self._end("gave_up")
            elif self.delay is None:
                self._restart(kid, kid)
            else:
                self._put_off(kid, kid)
            return
        kid.status = "stopped"
        if kid.restart == "temporary":
            self.kids.remove(kid)
        others = [other for other in self.kids if other.significant and other.status != "stopped"]
        if kid.significant and (
            self.auto_shutdown == "any_significant" or (self.auto_shutdown == "all_significant" and not others)
        ):
            self._end("shut_down")

    def _restart(self, kid: Kid, first: Kid) -> None:
        """Start the group of ``kid``, because ``first`` has ended."""
        place = self.kids.index(kid)
        group = {"one_for_one": [kid], "one_for_all": self.kids, "rest_for_one": self.kids[place:]}[self.strategy]
        for other in reversed(group):
            self._shut(other)
        self.kids = [other for other in self.kids if other not in group or other.restart != "temporary"]
        group = [other for other in group if other in self.kids]
        for other in group:
            other.status = "waiting"
        for other in group:
            other.restarts += 1
            if not self._begin(other):
                self.failed += 1
                self.retries = [entry for entry in self.retries if entry[1] not in group]
                if self._tolerable():
                    self._put_off(other, first)
                else:
                    self._end("gave_up")
                return
        self.restarted += first in self.kids and first.status == "running"

    def _tolerable(self) -> bool:
        """Count a restart."""
        now = self.now // self.tick * self.tick
        self.times.append(now)
        return sum(now - time < self.period for time in self.times) <= self.intensity

    def _put_off(self, kid: Kid, first: Kid) -> None:
        kid.status = "restarting"
        self.retries.append((self.now + (self.delay or 0.0), kid, first))

    def _call_off(self, kid: Kid) -> None:
        self.retries = [entry for entry in self.retries if entry[1] is not kid]

    def _give_up_on(self, kid: Kid) -> None:
        """Nobody waits any more for a restart that is called off."""
        had = len(self.retries)
        self._call_off(kid)
        if had and not self.retries:
            for other in self.kids:
                if other.status == "waiting":
                    other.status = "stopped"

    def _begin(self, kid: Kid) -> bool:
        """Start a child; return False if it fails."""
        self._call_off(kid)
        outcome = self.script.pop(0) if self.script else "ok"
        if outcome == "fail":
            self.log.append(f"!top/{kid.id}")
            return False
        if outcome == "ignore":
            self.log += [f"?top/{kid.id}", f"-top/{kid.id} normal"]
            kid.status = "stopped"
            return True
        self.log.append(f"+top/{kid.id}")
        kid.status, kid.alive = "running", True
        return True

    def _shut(self, kid: Kid) -> None:
        if kid.alive:
            kid.alive = False
            self.log.append(f"-top/{kid.id} shutdown")

    def _end(self, why: Literal["start_failed", "gave_up", "shut_down", "stopped"]) -> None:
        self.gone = why
        for kid in reversed(self.kids):
            self._shut(kid)
        self.kids = []

    def _find(self, id: str) -> Kid | None:
        return next((kid for kid in self.kids if kid.id == id), None)
