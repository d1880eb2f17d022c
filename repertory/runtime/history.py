"""What the log of a run tells to whoever goes on with it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from repertory.providers.messages import Usage
from repertory.runtime.run_log import RunEvent

CANCELLED = "step_cancelled"  # code of a step that was given up because of another: no outcome of its own


@dataclass(frozen=True, slots=True)
class StepKey:
    """Which step of a run: the ``occurrence``-th begun call of ``step`` with these inputs, from 0."""

    step: str
    asked: str
    occurrence: int


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """A step that has its outcome.

    Attributes:
        event: The number of its event.
        begun: The number of the latest event when it was begun.
        outputs: JSON; None where it failed.
        error: Code, message and whether repeating may help; None where it did not fail.
        nano_cost: What its calls cost for certain, in nano-dollars.
    """

    event: int
    begun: int
    outputs: Any
    error: Mapping[str, Any] | None
    version: int
    usage: Usage
    calls: int
    nano_cost: int
    seconds: float


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call of a model that was about to be made, and of which nothing else is known.

    Attributes:
        event: The number of its intent.
        response_id: The provider's id of the answer, where it has told one.
    """

    event: int
    step: StepKey
    key: str
    attempt: int
    endpoint: str
    request_hash: str
    nano_most: int | None
    tokens_most: int | None
    response_id: str | None = None


@dataclass(slots=True)
class RecordedCalls:
    """What is recorded of the calls of a step that has no outcome.

    Attributes:
        replies: The answers it got, each as JSON, in order.
        open: The call that was under way, if its provider has told an id by which to ask for the answer.
        nano_cost: What these calls cost for certain, in nano-dollars.
    """

    replies: list[str] = field(default_factory=list)
    open: OpenCall | None = None
    nano_cost: int = 0


@dataclass(slots=True)
class RunHistory:
    """The recorded past of a run.

    Attributes:
        last: The number of the latest event.
        open_calls: By key and attempt.
        uncertain: Numbers of the intents that are listed as uncertain already.
        timers: When steps that sleep wake up, by their keys.
        signals: What was said to the run: name, value, and the message's id.
        replies: The answers that the calls of a step got, each as JSON, by step.
        parameters: Of predictors, by their paths, that hold for this run alone.
        given_up: Steps that were begun and have no outcome, as another one failed or their time was up.
        optional: Steps that the program need not ask for again: those of the run it was forked from, those within
            a step that is recorded itself, all of a run that is retried and may go another way now.
        code: The code of its program with which it began anew; None: that with which it was accepted.
        paid: What the calls of steps without an outcome cost for certain, in nano-dollars.
    """

    last: int = 0
    steps: dict[StepKey, RecordedStep] = field(default_factory=dict)
    open_calls: dict[tuple[str, int], OpenCall] = field(default_factory=dict)
    uncertain: set[int] = field(default_factory=set)
    timers: dict[StepKey, float] = field(default_factory=dict)
    signals: list[tuple[str, Any, str]] = field(default_factory=list)
    replies: dict[StepKey, list[str]] = field(default_factory=dict)
    paid: Counter[StepKey] = field(default_factory=Counter)
    parameters: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    given_up: set[StepKey] = field(default_factory=set)
    optional: set[StepKey] = field(default_factory=set)
    code: str | None = None
    ended: bool = False
    _latest: dict[tuple[str, str], int] = field(default_factory=dict)  # occurrence that has an outcome

    @classmethod
    def of(cls, events: Iterable[RunEvent]) -> "RunHistory":
        """What ``events``, in order, tell."""
        history = cls()
        for event in events:
            history.take(event)
        return history

    def take(self, event: RunEvent) -> None:
        """Go on to ``event``."""
        self.last = event.id
        data = event.data
        match event.kind:
            case "call":
                step = _key(data)
                self.paid[step] += self._settle(data.get("settled", ()))
                call = OpenCall(
                    event.id,
                    step,
                    data["key"],
                    data["attempt"],
                    data["endpoint"],
                    data["request"],
                    data["most"],
                    data["tokens"],
                )
                self.open_calls[call.key, call.attempt] = call
                if call.attempt == 1 and call.key.endswith("-0"):
                    self.replies.pop(call.step, None)  # it was begun anew
                if replies := data.get("replies"):
                    self.replies.setdefault(call.step, []).extend(replies)
            case "response":
                place = (data["key"], data["attempt"])
                if (known := self.open_calls.get(place)) is not None:
                    self.open_calls[place] = replace(known, response_id=data["id"])
            case "uncertain":
                self.uncertain.add(data["call"])
            case "step":
                self._settle(data.get("settled", ()))
                key = _key(data)
                if (data.get("error") or {}).get("code") == CANCELLED:
                    self.given_up.add(key)
                    return
                self.given_up.discard(key)
                self.steps[key] = _step(event.id, data)
                self._latest[key.step, key.asked] = max(key.occurrence, self._latest.get((key.step, key.asked), 0))
                if data.get("inherited") or data.get("within"):
                    self.optional.add(key)
            case "restart":
                self.restart(data["code"])
            case "parameters":
                self.parameters.update(data)
            case "timer":
                self.timers[_key(data)] = data["until"]
            case "signal":
                self.signals.append((data["name"], data["value"], data["message"]))
            case "done":
                self.ended = True

    def restart(self, code: str) -> None:
        """Nothing that was done so far counts for the program with this ``code``."""
        self.code = code
        for past in (self.steps, self.timers, self.replies, self.given_up, self._latest):
            past.clear()

    def forget_failures(self) -> None:
        """Have the steps asked again whose failure was the last that was seen of them.

        A failure that the program itself got over, by asking the same once more, stays what it was. Where one is
        forgotten the program may go another way than before, and need not ask for what it did on the first.
        """
        begun: dict[tuple[str, str], int] = {}  # when the latest was begun that ended well
        for key, step in self.steps.items():
            if step.error is None:
                place = (key.step, key.asked)
                begun[place] = max(begun.get(place, -1), step.begun)
        for key in [key for key, step in self.steps.items() if step.error is not None]:
            if self.steps[key].event > begun.get((key.step, key.asked), -1):
                del self.steps[key]
                self.optional.update(self.steps)

    def begin(self, step: str, asked: str, occurrence: int) -> StepKey:
        """The call that a program begins as the ``occurrence``-th of its kind, or a later one that stands for it.

        Where an earlier life gave one up, and got an answer when it asked the same again, that is the answer.
        """
        latest = self._latest.get((step, asked), -1)
        while occurrence < latest and StepKey(step, asked, occurrence) in self.given_up:
            occurrence += 1
        return StepKey(step, asked, occurrence)

    def unsettled(self) -> list[OpenCall]:
        """The calls of which nobody knows what became, in order; not those of steps that have their outcome."""
        return [call for call in self.open_calls.values() if call.step not in self.steps]

    def calls_of(self, step: StepKey) -> RecordedCalls:
        """What is recorded of the calls of a step that has no outcome."""
        calls = [call for call in self.open_calls.values() if call.step == step]
        last = calls[-1] if calls and calls[-1].response_id is not None else None
        return RecordedCalls([*self.replies.get(step, ())], last, self.paid[step])

    def _settle(self, settled: Iterable[Any]) -> int:
        """Take note of attempts that have ended; return what they cost for certain."""
        nano = 0
        for key, attempt, ending, _, _, cost in settled:
            self.open_calls.pop((key, attempt), None)
            nano += (cost or 0) if ending == "paid" else 0
        return nano


def _key(data: Mapping[str, Any]) -> StepKey:
    return StepKey(data["step"], data["asked"], data["occurrence"])


def _step(event: int, data: Mapping[str, Any]) -> RecordedStep:
    return RecordedStep(
        event,
        data.get("begun", 0),
        data.get("outputs"),
        data.get("error"),
        data.get("version", 0),
        Usage(*data.get("usage", (0, 0))),
        data.get("calls", 0),
        data.get("nano", 0),
        data.get("seconds", 0.0),
    )
