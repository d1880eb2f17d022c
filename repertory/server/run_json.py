"""Runs, their steps and their events as JSON has them: what the HTTP API and ``repertory runs --json`` tell."""

from collections.abc import Iterable
from typing import Any

from repertory.providers.messages import Usage
from repertory.runtime.run_log import RunEvent
from repertory.runtime.run_status import RunStatus, StepStatus


def described_run(run: RunStatus) -> dict[str, Any]:
    """All that is known of a run."""
    return {**run_line(run), "inputs": run.inputs, "outputs": run.outputs}


def run_line(run: RunStatus) -> dict[str, Any]:
    """A run without what it was given and gave, which may be large."""
    return {
        "id": run.id,
        "program": run.program,
        "key": run.key,
        "status": run.status,
        "error": _error(run.error),
        "usage": _usage(run.usage),
        "lm_calls": run.lm_calls,
        "cost": float(run.cost),
        "uncertain_calls": run.uncertain_calls,
        "uncertain_cost": float(run.uncertain_cost),
        "accepted_at": run.accepted_at,
        "finished_at": run.finished_at,
        "seconds": run.seconds,
        "tags": run.tags,
        "parent": run.parent,
    }


def described_step(step: StepStatus) -> dict[str, Any]:
    """A step that has ended."""
    return {
        "number": step.number,
        "step": step.step,
        "inputs": step.inputs,
        "outputs": step.outputs,
        "error": _error(step.error),
        "version": step.version,
        "usage": _usage(step.usage),
        "lm_calls": step.lm_calls,
        "cost": float(step.cost),
        "seconds": step.seconds,
        "at": step.at,
    }


def described_events(events: Iterable[RunEvent]) -> list[dict[str, Any]]:
    """Events in their order."""
    return [{"id": event.id, "kind": event.kind, "at": event.at, "data": event.data} for event in events]


def _error(error: tuple[str, str] | None) -> dict[str, str] | None:
    return {"code": error[0], "message": error[1]} if error is not None else None


def _usage(usage: Usage) -> dict[str, int]:
    return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
