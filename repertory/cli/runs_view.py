"""What a person sees of runs: tables of them, of their steps, their events, and their doubtful calls."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from repertory.cli.printable import printable
from repertory.cli.tree_view import human_age
from repertory.runtime.run_log import RunEvent
from repertory.runtime.run_status import RunStatus, StepStatus
from repertory.signatures.json_text import dump_json
from repertory.store.ledger import in_dollars
from repertory.store.run_rows import Uncertain

STATUS_STYLES: Final[Mapping[str, str]] = MappingProxyType(
    {"accepted": "cyan", "ok": "green", "failed": "bold red", "cancelled": "yellow", "held": "bold yellow"}
)
LONGEST: Final = 120  # characters of a value among others


def runs_table(runs: Iterable[RunStatus], now: float) -> Table:
    """A line for each run."""
    table = _table("RUN", "PROGRAM", "STATUS", "AGE", "TOOK", "CALLS", "COST", "UNCERTAIN", numbers=5)
    for run in runs:
        table.add_row(
            run.id,
            _shown(run.program),
            Text(run.status, STATUS_STYLES.get(run.status, "")),
            human_age(max(0.0, now - run.accepted_at)),
            _seconds(run.seconds),
            str(run.lm_calls),
            _dollars(run.cost),
            str(run.uncertain_calls or ""),
        )
    return table


def run_lines(run: RunStatus) -> Iterator[Text]:
    """All that is known of a run, a line for each thing."""
    usage = f"{run.usage.input_tokens} tokens in, {run.usage.output_tokens} out, {run.lm_calls} calls"
    told = {
        "run": run.id,
        "program": run.program,
        "key": run.key,
        "status": run.status,
        "error": f"{run.error[0]}: {run.error[1]}" if run.error is not None else "",
        "accepted": _time(run.accepted_at),
        "finished": f"{_time(run.finished_at)}, after {_seconds(run.seconds)}" if run.finished_at else "",
        "usage": f"{usage}, {_dollars(run.cost)}",
        "uncertain": f"{run.uncertain_calls} calls, {_dollars(run.uncertain_cost)} at most"
        if run.uncertain_calls
        else "",
        "tags": ", ".join(f"{name}={value}" for name, value in run.tags.items()),
        "forked from": run.parent or "",
        "inputs": _json(run.inputs),
        "outputs": _json(run.outputs) if run.outputs is not None else "",
    }
    for name, value in told.items():
        if value:
            style = STATUS_STYLES.get(run.status, "") if name == "status" else "red" if name == "error" else ""
            yield Text.assemble((f"{name:12}", "bold"), (printable(value), style))


def steps_table(steps: Iterable[StepStatus]) -> Table:
    """A line for each step, and what came of it."""
    table = _table("", "STEP", "TOOK", "CALLS", "COST", numbers=2)
    table.add_column("OUTCOME", no_wrap=True)
    for step in steps:
        outcome = (
            Text(_shown(f"{step.error[0]}: {step.error[1]}"), "red")
            if step.error is not None
            else Text(_shown(_json(step.outputs)))
        )
        row = (_seconds(step.seconds), str(step.lm_calls), _dollars(step.cost))
        table.add_row(str(step.number), _shown(step.step), *row, outcome)
    return table


def event_line(event: RunEvent) -> Text:
    """An event in a line."""
    return Text.assemble(
        f"{event.id:>5}  ",
        (_time(event.at), "dim"),
        (f"  {event.kind:10}  ", "red" if event.kind in ("gap", "uncertain") else "cyan"),
        _shown(_json(event.data)),
    )


def uncertain_table(calls: Iterable[Uncertain]) -> Table:
    """A line for each call of which nobody knows whether it was billed."""
    table = _table("RUN", "EVENT", "ENDPOINT", "COST AT MOST", "TOKENS AT MOST", "POLICY", "FOUND")
    for call in calls:
        table.add_row(
            call.run_id,
            str(call.event_id),
            _shown(call.endpoint),
            _dollars(in_dollars(call.nano_most)) if call.nano_most is not None else "unknown",
            str(call.tokens_most) if call.tokens_most is not None else "unknown",
            call.policy,
            _time(call.found_at),
        )
    return table


def described_call(call: Uncertain) -> dict[str, Any]:
    """A call of which nobody knows whether it was billed, as JSON has it."""
    return {
        "run": call.run_id,
        "event": call.event_id,
        "endpoint": call.endpoint,
        "request": call.request_hash,
        "cost_most": float(in_dollars(call.nano_most)) if call.nano_most is not None else None,
        "tokens_most": call.tokens_most,
        "policy": call.policy,
        "found_at": call.found_at,
    }


def _table(*columns: str, numbers: int = 0) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        right = place >= len(columns) - numbers if numbers else False
        table.add_column(column, justify="right" if right else "left", no_wrap=True)
    return table


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.2f}s" if seconds < 60 else human_age(seconds)


def _dollars(amount: Decimal) -> str:
    return f"${amount:.6f}".rstrip("0").rstrip(".") if amount else "-"


def _json(value: object) -> str:
    return dump_json(value).decode()


def _shown(text: str) -> str:
    text = printable(" ".join(text.split()))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
