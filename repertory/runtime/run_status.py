"""What can be asked about a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from repertory.providers.messages import Usage
from repertory.runtime.run_log import RunEvent
from repertory.runtime.spilled import outline
from repertory.signatures.json_text import load_json
from repertory.store.ledger import in_dollars
from repertory.store.run_rows import StoredRun


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The state of a run.

    Attributes:
        status: ``accepted`` (it is to be done, or under way), ``ok``, ``failed``, ``cancelled``, or ``held``: it
            waits for somebody to decide about a call of which nobody knows whether it was billed.
        durable: Whether it outlives this process.
        outputs: As JSON has them, where it ended well.
        error: Code and message, where it did not.
        cost: Dollars spent for certain, as far as prices are known.
        uncertain_calls: Calls of models of which nobody knows whether they were billed.
        uncertain_cost: What these cost at most, in dollars.
        accepted_at, finished_at: Seconds since the Unix epoch.
    """

    id: str
    program: str
    key: str
    status: str
    durable: bool
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any] | None
    error: tuple[str, str] | None
    usage: Usage
    lm_calls: int
    cost: Decimal
    uncertain_calls: int
    uncertain_cost: Decimal
    accepted_at: float
    finished_at: float | None
    seconds: float | None
    tags: Mapping[str, str]
    parent: str | None

    @property
    def ended(self) -> bool:
        """Whether it has an outcome, for now."""
        return self.status != "accepted"

    @classmethod
    def of(cls, run: StoredRun) -> "RunStatus":
        """The state of a run in the journal."""
        failed = run.error_code is not None and run.status != "ok"
        return cls(
            id=run.id,
            program=run.program,
            key=run.key,
            status=run.status,
            durable=True,
            inputs=outline(run.inputs),
            outputs=outline(run.outputs) if run.outputs is not None and run.status == "ok" else None,
            error=(run.error_code or "", run.error_message or "") if failed else None,
            usage=Usage(run.input_tokens, run.output_tokens),
            lm_calls=run.lm_calls,
            cost=in_dollars(run.nano_cost),
            uncertain_calls=run.uncertain_calls,
            uncertain_cost=in_dollars(run.nano_uncertain),
            accepted_at=run.accepted_at,
            finished_at=run.finished_at if run.status != "accepted" else None,
            seconds=run.seconds if run.status != "accepted" else None,
            tags=load_json(run.tags) if run.tags is not None else {},
            parent=run.parent,
        )


@dataclass(frozen=True, slots=True)
class StepStatus:
    """A step of a run that has ended.

    Attributes:
        number: Its place among those that ended, from 0; `fork` takes it.
        step: The path of its predictor, or ``step:`` and the name of what the program did itself.
        inputs: As JSON has them; None where they are the run's.
        outputs: Likewise; None where it failed.
        error: Code and message, where it failed.
        version: Of the predictor's parameters.
        seconds: How long it took, when it was really done.
    """

    number: int
    step: str
    inputs: Mapping[str, Any] | None
    outputs: Any
    error: tuple[str, str] | None
    version: int
    usage: Usage
    lm_calls: int
    cost: Decimal
    seconds: float
    at: float


def step_status(number: int, event: RunEvent) -> StepStatus:
    """The step that ``event`` tells of, the ``number``-th of its run that ended."""
    data = event.data
    error = data.get("error")
    return StepStatus(
        number,
        data["step"],
        data.get("inputs"),
        data.get("outputs"),
        (error["code"], error["message"]) if error else None,
        data.get("version", 0),
        Usage(*data.get("usage", (0, 0))),
        data.get("calls", 0),
        in_dollars(data.get("nano", 0)),
        data.get("seconds", 0.0),
        event.at,
    )
