"""What a person sees of a batch: incidents as they happen, progress, samples and the summary."""

from collections.abc import Mapping
from math import inf
from time import monotonic
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from repertory import events
from repertory.cli.printable import printable
from repertory.cli.tally import Tally

REASONS = 3  # shown of those for which rows have no answer
REDRAW = 0.05  # seconds between two looks at the counts; a glance at each row of a million is felt
REPORTS = 10  # progress lines where there is no terminal to draw a bar on


class BatchView:
    """Draws one batch.

    Args:
        total: Rows to come, None if that is not known.
    """

    def __init__(self, console: Console, title: str, tally: Tally, total: int | None) -> None:
        self._console = console
        self._tally = tally
        self._total = total
        self._started = monotonic()
        self._drawn = -inf
        self._reported = 0
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.1f} rows/s"),
            TextColumn("[dim]{task.fields[counts]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(title, total=total, rate=0.0, counts="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_exc: object) -> None:
        if kind is None:
            self._draw()  # what came since the last look
        self._progress.stop()

    def update(self) -> None:
        """Show the present counts, if they were not shown just now."""
        if (now := monotonic()) >= self._drawn + REDRAW:
            self._drawn = now
            self._draw()

    def _draw(self) -> None:
        tally = self._tally
        counts = ", ".join(
            f"{count} {name}"
            for name, count in (("rejected", tally.rejected), ("failed", tally.failed), ("resumed", tally.resumed))
            if count
        )
        self._progress.update(self._task, completed=tally.done, rate=self._rate(), counts=counts)
        if not self._console.is_terminal and self._total:
            self._report(self._total, counts)

    def on_event(self, event: events.Event) -> None:
        """A hook: tell what a person should know of."""
        if (line := incident(event)) is not None:
            self._console.print(line, soft_wrap=True)

    def _report(self, total: int, counts: str) -> None:
        """Print a line each time another tenth of the rows is done."""
        tenths = self._tally.done * REPORTS // total
        if tenths > self._reported:
            self._reported = tenths
            extra = f" ({counts})" if counts else ""
            self._console.print(f"{self._tally.done}/{total} rows, {self._rate():.1f} rows/s{extra}")

    def _rate(self) -> float:
        """Rows per second, those read back from the journal left out."""
        return (self._tally.done - self._tally.resumed) / max(monotonic() - self._started, 1e-9)


def incident(event: events.Event) -> str | None:
    """A line about an event worth a person's notice; None for the others."""
    match event:
        case events.ActorCrashed(path, incarnation, cause):
            return f"[red]✗ {escape(path)} crashed (life {incarnation}): {_error(cause)}[/red]"
        case events.ActorRestarted(path, incarnation, _, waited):
            return f"[green]↻ {escape(path)} restarted (life {incarnation}) after {waited * 1000:.1f} ms[/green]"
        case events.RestartFailed(path, cause):
            return f"[red]✗ {escape(path)} did not restart: {_error(cause)}[/red]"
        case events.SupervisorGaveUp(path, _):
            return f"[bold red]✗ {escape(path)} gave up[/bold red]"
        case events.StuckChild(path, incarnation):
            return f"[yellow]! {escape(path)} (life {incarnation}) does not end; left behind[/yellow]"
        case events.CircuitChanged(endpoint, before, after):
            return f"[yellow]! circuit of {escape(endpoint)}: {before} → {after}[/yellow]"
        case events.HookFailed(hook, cause):
            return f"[yellow]! the hook {escape(hook)} failed: {_error(cause)}[/yellow]"
        case events.LocalModelStarted(endpoint, pid, url):
            return f"[dim]· local model {escape(endpoint)} answers at {url} (pid {pid})[/dim]"
        case events.LocalModelExited(endpoint, pid, status):
            return f"[red]✗ local model {escape(endpoint)} (pid {pid}) ended with status {status}[/red]"
        case _:
            return None


def samples_table(tally: Tally) -> Table:
    """Some rows and what the program made of them."""
    table = Table(title="Sample results", title_justify="left", expand=True)
    names = list(tally.samples[0].run.prediction.outputs) if tally.samples else []
    expect = tally.expect
    table.add_column("row", no_wrap=True, overflow="ellipsis", max_width=30)
    table.add_column("inputs", no_wrap=True, overflow="ellipsis", ratio=1)
    for column in [*names, *(["expected"] if expect else []), "ms"]:
        table.add_column(column, overflow="fold", max_width=40)
    for answered in tally.samples:
        outputs = answered.run.prediction.outputs
        inputs = " ".join(str(value) for value in answered.row.inputs.values())
        cells = [str(answered.row.id), " ".join(inputs[:200].split()), *(str(outputs.get(name)) for name in names)]
        if expect:
            cells.append(str(answered.row.expected))
        table.add_row(*(escape(printable(cell)) for cell in cells), f"{answered.run.seconds * 1000:.0f}")
    return table


def reasons_lines(tally: Tally) -> list[str]:
    """Why rows have no answer: the most frequent reasons, each with its remedy."""
    lines = []
    for (reason, hint), count in tally.reasons.most_common(REASONS):
        lines.append(f"[yellow]{count} x {escape(printable(reason))}[/yellow]")
        if hint:
            lines.append(f"    {escape(printable(hint))}")
    return lines


def summary_table(summary: Mapping[str, Any]) -> Table:
    """The closing summary."""
    table = Table(title="Summary", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    rows = f"{summary['rows']} ({summary['ok']} ok, {summary['rejected']} rejected, {summary['failed']} failed"
    table.add_row("rows", rows + (f", {summary['resumed']} resumed)" if summary["resumed"] else ")"))
    if summary["accuracy"] is not None:
        table.add_row("accuracy", _accuracy(summary))
        if summary["chance"] is not None:
            table.add_row("chance", f"{summary['chance']:.3f}")
    if (baseline := summary.get("baseline")) is not None:
        compared = _accuracy(baseline) if baseline["accuracy"] is not None else "nothing compared"
        table.add_row(escape(baseline["program"]), f"{compared} on {baseline['rows']} rows")
    table.add_row("restarts", str(summary["restarts"]))
    table.add_row("model calls", f"{summary['lm_calls']} ({summary['tokens']} tokens)")
    table.add_row("latency", f"p50 {summary['p50_ms']:.0f} ms, p95 {summary['p95_ms']:.0f} ms")
    table.add_row("time", f"{summary['seconds']:.1f} s")
    return table


def _accuracy(summary: Mapping[str, Any]) -> str:
    low, high = summary["accuracy_low"], summary["accuracy_high"]
    return f"{summary['accuracy']:.3f} (95 % interval {low:.3f} to {high:.3f})"


def _error(cause: BaseException) -> str:
    first_line = str(cause).partition("\n")[0]
    return escape(printable(f"{type(cause).__name__}: {first_line}"))
