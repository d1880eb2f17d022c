"""``repertory import-dspy``: does a state that DSPy saved fit a program, and what of it takes effect?"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from repertory.cli.exit_codes import ExitCode
from repertory.cli.printable import printable
from repertory.cli.whole_file import write_whole
from repertory.modules.dspy_state.report import DspyReport, Effect
from repertory.runtime.config import load_config
from repertory.runtime.loading import load_program
from repertory.signatures.source import clipped

_NOT_TAKEN = ("left", "skipped")
_COLOURS: dict[Effect, str] = {"taken": "green", "kept": "dim", "left": "yellow", "skipped": "red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """The arguments of the command, as `repertory import-dspy --help` explains them."""

    file: Path
    program: str
    check: bool
    out: Path | None
    config: Path | None


def import_dspy(options: ImportOptions, console: Console) -> ExitCode:
    """Load the state into the program, show what became of it, and return REJECTED if something was not taken.

    Raises:
        ProgramError, ConfigError: The program, the file or the configuration cannot be used.
    """
    known = load_config(options.config).lm if options.config is not None else {}
    lms = {known[name].model: name for name in reversed(known)}  # the first of those with the same model
    program = load_program(options.program)
    report = program.load_dspy_state(options.file, strict=False, lms=lms)
    if not options.check or not report.complete:
        console.print(_table(report, options.check))
    _show_remedies(report, console)
    if not options.check:
        _show_use(report, lms, console)
    if options.out is not None:
        state = json.dumps(program.dump_dspy_state(), indent=2, ensure_ascii=False)
        write_whole(options.out, state + "\n")
    return ExitCode.OK if report.complete else ExitCode.REJECTED


def _table(report: DspyReport, only_not_taken: bool) -> Table:
    title = f"{report.source}, written by DSPy {report.version or '(unknown)'}"
    table = Table(title=Text(printable(title)))
    for heading in ("in DSPy", "here", "matched", "what", "became", "value"):
        table.add_column(heading, overflow="fold")
    for effect, row in _rows(report):
        if not only_not_taken or effect in _NOT_TAKEN:
            table.add_row(*(Text(printable(cell), _COLOURS[effect]) for cell in row))
    return table


def _rows(report: DspyReport) -> Iterator[tuple[Effect, tuple[str, ...]]]:
    for match in report.matches:
        names = (clipped(match.dspy_path), match.path, match.how)
        if not match.changes:
            yield "taken", (*names, "", "as declared", "")
        for change in match.changes:
            yield change.effect, (*names, change.where, change.effect, change.detail)
    for path in report.unmatched_dspy:
        yield "skipped", (clipped(path), "", "-", "", "left", "the program has no such predictor")
    for path in report.unmatched:
        yield "skipped", ("", path, "-", "", "as declared", "the state has no such predictor")


def _show_remedies(report: DspyReport, console: Console) -> None:
    for match in report.matches:
        for change in match.changes:
            if change.hint and change.effect in _NOT_TAKEN:
                line = f"{match.path}, {change.where}: {change.hint}"
                console.print(Text(printable(line)), soft_wrap=True)


def _show_use(report: DspyReport, lms: dict[str, str], console: Console) -> None:
    arguments = [repr(report.source)]
    if any(change.effect == "skipped" for match in report.matches for change in match.changes) or (
        report.unmatched or report.unmatched_dspy
    ):
        arguments.append("strict=False")
    if models := {model: name for model, name in lms.items() if model in report.models}:
        arguments.append(f"lms={models!r}")
    line = f"To use it, call where the program is made: program.load_dspy_state({', '.join(arguments)})"
    console.print(Text(printable(line)), soft_wrap=True)
