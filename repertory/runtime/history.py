"""What the log of a run tells to whoever goes on with it."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from repertory.providers.messages import Usage
from repertory.runtime.run_log import RunEvent
from repertory.runtime.spilled import MARK
from repertory.store.content_reader import ContentReader

SAID = 256  # messages; of those that were recorded only the latest may not have been taken from the table
CANCELLED = "step_cancelled"  # code of a step that was given up because of another: no outcome of its own


@dataclass(frozen=True, slots=True)
class StepKey:
    """Which step of a run: the ``occurrence``-th begun call of ``step`` with these inputs, from 0."""

    step: str
    asked: str
    occurrence: int

    def data(self) -> dict[str, Any]:
        """It, as events have it."""
        return {"step": self.step, "asked": self.asked, "occurrence": self.occurrence}


@dataclass(frozen=True, slots=True)
class Kept:
    """Stands for a large value, until it is needed: see `RunHistory.whole`."""

    data: Any


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
    error: "Mapping[str, Any] | Kept | None"
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


@dataclass(frozen=True, slots=True)
class RecordedCalls:
    """What is recorded of the calls of a step that has no outcome.

    Attributes:
        replies: The answers it got, each as JSON, in order.
        open: The call that was under way, if its provider has told an id by which to ask for the answer.
        paid: The keys of calls that had an end and were paid for.
        nano_cost: What these calls cost for certain, in nano-dollars.
    """

    replies: tuple[str, ...] = ()
    open: OpenCall | None = None
    paid: frozenset[str] = frozenset()
    nano_cost: int = 0


NOTHING_RECORDED: Final = RecordedCalls()


@dataclass(slots=True)
class RunHistory:
    """The recorded past of a run.

    Attributes:
        last: The number of the latest event.
        open_calls: By key and attempt.
        uncertain: Numbers of the intents that are listed as uncertain already.
        gone: Those of them whose answer was asked for by its id, and is not there.
        timers: When steps that sleep wake up, by their keys.
        signals: What was said to the run and not heard by its program: name, value (or a `Kept`), and the
            message's id.
        said: The ids of the latest messages, which might come again.
        replies: The answers that the calls of a step without an outcome got, each as JSON, by step.
        parameters: Of predictors, by their paths, that hold for this run alone.
        inherits: How many steps it was forked with.
        inherited: How many of these are in its log.
        cut_off: Steps of which pieces of an answer came last, and not its end.
        given_up: Steps that were begun and have no outcome, as another one failed or their time was up.
        optional: Steps that the program need not ask for again: those of the run it was forked from, those within
            a step that is recorded itself, all of a run that is retried and may go another way now.
        code: The code of its program with which it began anew; None: that with which it was accepted.
        paid: What the calls of steps without an outcome cost for certain, in nano-dollars.
        paid_keys: The keys of these calls.
        nano_paid: What all calls of the run cost for certain, whatever became of their steps; not what the run
            paid that it was forked from.
        trace, streams: What it was submitted with.
        ended: Whether it has an outcome: what comes after that is another try.
        cancelled: Whether somebody has asked it to stop, and it has not ended since.
        reader: Restores large values.
    """

    last: int = 0
    steps: dict[StepKey, RecordedStep] = field(default_factory=dict)
    open_calls: dict[tuple[str, int], OpenCall] = field(default_factory=dict)
    uncertain: set[int] = field(default_factory=set)
    gone: set[int] = field(default_factory=set)
    timers: dict[StepKey, float] = field(default_factory=dict)
    signals: list[tuple[str, Any, str]] = field(default_factory=list)
    said: deque[str] = field(default_factory=lambda: deque(maxlen=SAID))
    replies: dict[StepKey, list[str | Kept]] = field(default_factory=dict)
    paid: Counter[StepKey] = field(default_factory=Counter)
    paid_keys: dict[StepKey, set[str]] = field(default_factory=dict)
    nano_paid: int = 0
    parameters: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    inherits: int = 0
    inherited: int = 0
    given_up: set[StepKey] = field(default_factory=set)
    optional: set[StepKey] = field(default_factory=set)
    code: str | None = None
    trace: str = ""
    streams: bool = False
    cut_off: set[StepKey] = field(default_factory=set)
    ended: bool = False
    cancelled: bool = False
    reader: ContentReader | None = None
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
        if self.ended:
            self.forget_failures()
            self.ended = False
        match event.kind:
            case "accepted":
                self.trace, self.streams = data.get("trace", ""), data.get("streams", False)
                self.parameters.update(data.get("parameters", {}))
                self.inherits = data.get("inherits", 0)
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
                    kept = _value_of(data, "replies")
                    self.replies.setdefault(step, []).extend([kept] if isinstance(kept, Kept) else replies)
            case "response":
                place = (data["key"], data["attempt"])
                if (known := self.open_calls.get(place)) is not None:
                    self.open_calls[place] = replace(known, response_id=data["id"])
            case "uncertain":
                self.uncertain.add(data["call"])
                if data.get("gone"):
                    self.gone.add(data["call"])
            case "delta":
                self.cut_off.add(_key(data))
            case "reset":
                self.cut_off.discard(_key(data))
            case "step":
                self.cut_off.discard(_key(data))
                if data.get("inherited"):
                    self.inherited += 1
                else:
                    self._settle(_key(data), data.get("settled", ()))
                self._take_step(event.id, _key(data), data)
            case "restart":
                self.restart(data["code"])
            case "timer":
                self.timers[_key(data)] = data["until"]
            case "signal":
                self.signals.append((data["name"], _value_of(data, "value"), data["message"]))
                self.said.append(data["message"])
            case "cancel":
                self.cancelled = True
            case "done":
                self.ended, self.cancelled = True, False

    def restart(self, code: str) -> None:
        """Nothing that was done so far counts for the program with this ``code``."""
        self.code = code
        self.inherits = 0
        for past in (
            self.steps,
            self.timers,
            self.replies,
            self.paid,
            self.paid_keys,
            self.given_up,
            self._latest,
        ):
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
        forgotten = False
        for key in [key for key, step in self.steps.items() if step.error is not None]:
            if self.steps[key].event > begun.get((key.step, key.asked), -1):
                del self.steps[key]
                forgotten = True
        if forgotten:
            self.optional.update(self.steps)

    def begin(self, step: str, asked: str, occurrence: int) -> StepKey:
        """The call that a program begins as the ``occurrence``-th of its kind, or a later one that stands for it.

        Where an earlier life gave one up, and got an answer when it asked the same again, that is the answer.
        """
        latest = self._latest.get((step, asked), -1)
        while occurrence < latest and StepKey(step, asked, occurrence) in self.given_up:
            occurrence += 1
        return StepKey(step, asked, occurrence)

    async def whole(self, value: Any) -> Any:
        """``value``, which is JSON or a `Kept`. Raises StoreError if something of it is missing."""
        if not isinstance(value, Kept):
            return value
        assert self.reader is not None
        return await self.reader.restore(value.data)

    async def take_outcome(self, step: StepKey) -> RecordedStep | None:
        """The outcome of a step, which is forgotten here; None where it has none. Raises StoreError."""
        recorded = self.steps.pop(step, None)
        if recorded is None or not (isinstance(recorded.outputs, Kept) or isinstance(recorded.error, Kept)):
            return recorded
        return replace(
            recorded, outputs=await self.whole(recorded.outputs), error=await self.whole(recorded.error)
        )

    async def fetch_replies(self) -> None:
        """Have the replies of the steps without an outcome whole. Raises StoreError."""
        for replies in self.replies.values():
            found = [each if isinstance(each, str) else await self.whole(each) for each in replies]
            replies[:] = [reply for each in found for reply in ([each] if isinstance(each, str) else each)]

    def spent(self) -> tuple[Usage, int, int]:
        """What the recorded steps took: tokens, calls, and nano-dollars for certain."""
        usage = sum((step.usage for step in self.steps.values()), Usage())
        return usage, sum(step.calls for step in self.steps.values()), self.nano_paid

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
        paid = self.paid_keys.get(step, ())
        kept = [call for call in self.open_calls.values() if call.step == step and self._is_kept(call)]
        replies = tuple(reply for reply in self.replies.get(step, ()) if isinstance(reply, str))
        return RecordedCalls(replies, kept[-1] if kept else None, frozenset(paid), self.paid[step])

    def _take_step(self, event: int, key: StepKey, data: Mapping[str, Any]) -> None:
        if (data.get("error") or {}).get("code") == CANCELLED:
            self.given_up.add(key)
            return
        self.given_up.discard(key)
        self.steps[key] = recorded = _step(event, data)
        self._latest[key.step, key.asked] = max(key.occurrence, self._latest.get((key.step, key.asked), 0))
        if data.get("inherited") or data.get("within"):
            self.optional.add(key)
        if recorded.error is None:  # else it may be tried again
            self.paid.pop(key, None)
            self.paid_keys.pop(key, None)
            self.replies.pop(key, None)

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


def _value_of(data: Mapping[str, Any], name: str) -> Any:
    return Kept(data[name]) if name in data.get(MARK, ()) else data.get(name)


def _step(event: int, data: Mapping[str, Any]) -> RecordedStep:
    return RecordedStep(
        event,
        data.get("begun", 0),
        _value_of(data, "outputs"),
        _value_of(data, "error"),
        data.get("version", 0),
        Usage(*data.get("usage", (0, 0))),
        data.get("calls", 0),
        data.get("nano", 0),
        data.get("seconds", 0.0),
    )
