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
        paid: The keys of calls that had an end and were paid for.
        nano_cost: What these calls cost for certain, in nano-dollars.
    """

    replies: list[str] = field(default_factory=list)
    open: OpenCall | None = None
    paid: frozenset[str] = frozenset()
    nano_cost: int = 0


@dataclass(slots=True)
class RunHistory:
    """The recorded past of a run.

    Attributes:
        last: The number of the latest event.
        open_calls: By key and attempt.
        uncertain: Numbers of the intents that are listed as uncertain already.
        gone: Those of them whose answer was asked for by its id, and is not there.
        timers: When steps that sleep wake up, by their keys.
        signals: What was said to the run: name, value, and the message's id.
        replies: The answers that the calls of a step got, each as JSON, by step.
        parameters: Of predictors, by their paths, that hold for this run alone.
        inherited: Steps of the run that this one was forked from: it need not ask for them.
        paid: What the calls of a step cost for certain, in nano-dollars; of use where it has no outcome.
        paid_keys: The keys of these calls.
        nano_paid: What all calls of the run cost for certain, whatever became of their steps.
    """

    last: int = 0
    steps: dict[StepKey, RecordedStep] = field(default_factory=dict)
    open_calls: dict[tuple[str, int], OpenCall] = field(default_factory=dict)
    uncertain: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    timers: dict[StepKey, float] = field(default_factory=dict)
    signals: list[tuple[str, Any, str]] = field(default_factory=list)
    replies: dict[StepKey, list[str]] = field(default_factory=dict)
    paid: Counter[StepKey] = field(default_factory=Counter)
    paid_keys: dict[StepKey, set[str]] = field(default_factory=dict)
    nano_paid: int = 0
    parameters: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    inherited: set[StepKey] = field(default_factory=set)
    ended: bool = False

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
                self._settle(step, data.get("settled", ()))
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
                if replies := data.get("replies"):
                    self.replies.setdefault(call.step, []).extend(replies)
            case "response":
                place = (data["key"], data["attempt"])
                if (known := self.open_calls.get(place)) is not None:
                    self.open_calls[place] = replace(known, response_id=data["id"])
            case "uncertain":
                self.uncertain.add(data["call"])
                if data.get("gone"):
                    self.gone.add(data["call"])
            case "step":
                if not data.get("inherited"):  # else another run has paid
                    self._settle(_key(data), data.get("settled", ()))
                if (data.get("error") or {}).get("code") != CANCELLED:
                    self.steps[_key(data)] = _step(event.id, data)
                    if data.get("inherited"):
                        self.inherited.add(_key(data))
            case "parameters":
                self.parameters.update(data)
            case "timer":
                self.timers[_key(data)] = data["until"]
            case "signal":
                self.signals.append((data["name"], data["value"], data["message"]))
            case "done":
                self.ended = True

    def forget_failures(self) -> None:
        """Have the steps asked again whose failure was the last that was seen of them.

        A failure that the program itself got over, by asking the same once more, stays what it was.
        """
        begun: dict[tuple[str, str], int] = {}  # when the latest was begun that ended well
        for key, step in self.steps.items():
            if step.error is None:
                place = (key.step, key.asked)
                begun[place] = max(begun.get(place, -1), step.begun)
        for key in [key for key, step in self.steps.items() if step.error is not None]:
            if self.steps[key].event > begun.get((key.step, key.asked), -1):
                del self.steps[key]

    def unsettled(self) -> list[OpenCall]:
        """The calls of which nobody knows what became, or can ask, in order; not those of ended steps."""
        calls = [call for call in self.open_calls.values() if call.step not in self.steps]
        kept = {call.step: call for call in calls if self._is_kept(call)}
        return [call for call in calls if call is not kept.get(call.step)]

    def fetchable(self) -> list[OpenCall]:
        """The calls of steps without an outcome whose answers can be asked for, one of each step."""
        calls = [call for call in self.open_calls.values() if call.step not in self.steps]
        return [*{call.step: call for call in calls if self._is_kept(call)}.values()]

    def close(self, call: OpenCall) -> None:
        """It is known by now what became of ``call``."""
        self.open_calls.pop((call.key, call.attempt), None)

    def is_open(self, call: OpenCall) -> bool:
        """Whether nothing else is known of ``call``."""
        return self.open_calls.get((call.key, call.attempt)) is call

    def calls_of(self, step: StepKey) -> RecordedCalls:
        """What is recorded of the calls of a step that has no outcome."""
        replies, paid = self.replies.get(step, ()), self.paid_keys.get(step, ())
        kept = [call for call in self.open_calls.values() if call.step == step and self._is_kept(call)]
        return RecordedCalls([*replies], kept[-1] if kept else None, frozenset(paid), self.paid[step])

    def _is_kept(self, call: OpenCall) -> bool:
        """Whether the answer can be asked for by its id."""
        return call.response_id is not None and call.event not in self.gone

    def _settle(self, step: StepKey, settled: Iterable[Any]) -> None:
        """Take note of attempts of a step that have ended."""
        for key, attempt, ending, _, _, cost in settled:
            self.open_calls.pop((key, attempt), None)
            if ending == "paid":
                self.paid[step] += cost or 0
                self.nano_paid += cost or 0
                self.paid_keys.setdefault(step, set()).add(key)


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
