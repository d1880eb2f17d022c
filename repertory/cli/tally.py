"""The tally of a batch: what came of its rows and what they cost."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_jsonable_python

from repertory.cli.latencies import ERROR, Latencies
from repertory.errors import ProgramError
from repertory.evaluation import Accuracy
from repertory.events import ActorRestarted, Event, LMCallFinished
from repertory.modules import Module
from repertory.runtime.batch import Answered, Failed, Outcome
from repertory.runtime.rows import Reject, Row
from repertory.signatures.json_text import dump_json

SAMPLES = 8  # answered rows kept to be shown
KINDS = 100  # different reasons counted; rows that fail each in their own way must not fill the memory


@dataclass(slots=True)
class Tally:
    """Counts outcomes and events, in memory that does not grow with their number.

    Args:
        expect: The output that is compared with the row's expected answer; None: nothing is compared.
        keep_rows: How many of the first rows to keep, for a second program to answer.
    """

    expect: str | None = None
    keep_rows: int = 0
    ok: int = 0
    rejected: int = 0
    failed: int = 0
    resumed: int = 0
    restarts: int = 0
    lm_calls: int = 0
    tokens: int = 0
    accuracy: Accuracy = field(default_factory=Accuracy)
    latencies: Latencies = field(default_factory=Latencies)
    samples: list[Answered] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    reasons: Counter[tuple[str, str | None]] = field(default_factory=Counter)  # with remedies

    @property
    def done(self) -> int:
        """Rows with an outcome."""
        return self.ok + self.rejected + self.failed

    def on_event(self, event: Event) -> None:
        """A hook: count what the runtime does."""
        match event:
            case ActorRestarted():
                self.restarts += 1
            case LMCallFinished():
                self.lm_calls += 1
                self.tokens += event.input_tokens + event.output_tokens
            case _:
                pass

    def record(self, outcome: Outcome) -> None:
        """Count an outcome. Raises ProgramError if the program does not give the expected output."""
        match outcome:
            case Answered():
                self.ok += 1
                self.resumed += outcome.run.replayed
                self.latencies.record(outcome.run.seconds)
                if len(self.samples) < SAMPLES:
                    self.samples.append(outcome)
            case Failed(error=error):
                self.failed += 1
                self._count_reason(f"{error.code}: {error.message.partition(chr(10))[0]}", error.hint)
            case Reject(_, name, reason, hint):
                self.rejected += 1
                self._count_reason(f"{name}: {reason}" if name else reason, hint)
                return
        if len(self.rows) < self.keep_rows:
            self.rows.append(outcome.row)
        if self.expect is not None:
            self.accuracy.record(isinstance(outcome, Answered) and is_right(outcome, self.expect))

    def _count_reason(self, reason: str, hint: str | None) -> None:
        if (reason, hint) in self.reasons or len(self.reasons) < KINDS:
            self.reasons[reason, hint] += 1

    def percentile_ms(self, percent: int) -> float:
        """Milliseconds that ``percent`` of the answered rows took at most."""
        return round(self.latencies.percentile(percent) * 1000, 1)

    def summary(self, seconds: float, chance: float | None) -> dict[str, Any]:
        """What goes into ``summary.json``; rates are shares (0..1), None where nothing was compared."""
        compared = self.expect is not None and self.accuracy.total > 0
        low, high = self.accuracy.interval()
        return {
            "rows": self.done,
            "ok": self.ok,
            "rejected": self.rejected,
            "failed": self.failed,
            "resumed": self.resumed,
            "accuracy": round(self.accuracy.rate, 4) if compared else None,
            "accuracy_low": round(low, 4) if compared else None,
            "accuracy_high": round(high, 4) if compared else None,
            "chance": round(chance, 4) if chance is not None else None,
            "restarts": self.restarts,
            "lm_calls": self.lm_calls,
            "tokens": self.tokens,
            "seconds": round(seconds, 3),
            "p50_ms": self.percentile_ms(50),
            "p95_ms": self.percentile_ms(95),
            "percentile_error": 0.0 if self.latencies.exact else ERROR,
        }


def is_right(answered: Answered, expect: str) -> bool:
    """Whether the answer is the expected one. CSV has only text, so what JSON would write is compared as well."""
    outputs = answered.run.prediction.outputs
    if expect not in outputs:
        raise ProgramError(
            f"the program gives no output {expect!r} to compare with the expected answers",
            hint=f"It gives: {', '.join(outputs)}.",
        )
    given, expected = to_jsonable_python(outputs[expect]), answered.row.expected
    return bool(given == expected) or expected in (str(given), dump_json(given).decode())


def chance_level(program: Module, expect: str | None) -> float | None:
    """How often a blind guess at the expected output would be right; None if its values cannot be listed."""
    for predict in reversed(list(program.predictors().values())):
        if expect in [field.name for field in predict.compiled.outputs]:
            choices: Sequence[object] | None = predict.compiled.choices(str(expect))
            return 1 / len(choices) if choices else None
    return None
