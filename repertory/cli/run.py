"""``repertory run``: a program over the rows of a file."""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from rich.console import Console
from rich.markup import escape

from repertory.cli.exit_codes import ExitCode
from repertory.cli.output import OutputDirectory
from repertory.cli.tally import Tally, chance_level
from repertory.cli.view import BatchView, reasons_lines, samples_table, summary_table
from repertory.errors import ConfigError, InjectedCrash
from repertory.modules import Module
from repertory.providers.messages import Terms
from repertory.runtime.batch import Answered, Batch, Outcome
from repertory.runtime.config import RuntimeConfig, load_config, make_config
from repertory.runtime.deployment import Deployment
from repertory.runtime.lm_config import LMConfig
from repertory.runtime.loading import load_program
from repertory.runtime.parquet import count_rows
from repertory.runtime.rows import Reject, Row, RowReader, read_rows
from repertory.runtime.runtime import Runtime
from repertory.runtime.sources import Format, Source, count_lines, format_of
from repertory.signatures import compile_signature

YOUNG_OBJECTS = 2_000  # until the garbage collector looks at them, and so many more
YOUNG_OBJECTS_OF_WORKER = 100  # for each row in flight, whose objects are no garbage


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The arguments of the command, as `repertory run --help` explains them."""

    program: str
    data: Source
    out: Path
    workers: int
    limit: int | None
    resume: bool
    inject_crash: int | None
    lm: str | None
    config: Path | None
    format: Format | None
    expect: str | None
    baseline: str | None
    baseline_limit: int
    timeout: float
    terms: Terms


def run_batch(options: RunOptions, console: Console) -> ExitCode:
    """Run the batch to its end and return what to tell the shell. Raises RepertoryError."""
    terminated = False

    async def supervised() -> ExitCode:
        nonlocal terminated
        task = asyncio.current_task()
        assert task is not None

        def terminate() -> None:
            nonlocal terminated
            if not terminated:  # a second one must not cut short what the first has begun
                terminated = True
                task.cancel()

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminate)
        return await _run(options, console)

    try:
        return asyncio.run(supervised())
    except (KeyboardInterrupt, asyncio.CancelledError):
        again = "The same command goes on where this one stopped." if options.resume else ""
        console.print(
            f"[yellow]Interrupted. What was answered is kept in {escape(str(options.out))}. {again}[/yellow]"
        )
        return ExitCode.TERMINATED if terminated else ExitCode.INTERRUPTED


async def _run(options: RunOptions, console: Console) -> ExitCode:
    # All that can be wrong with the arguments is found before the model is started.
    if options.baseline is not None and options.expect is None:
        raise ConfigError(
            "--baseline compares answers with the right ones", hint="Name their column: --expect COLUMN."
        )
    name = options.program.rpartition(":")[2]
    program = load_program(options.program)
    baseline = load_program(options.baseline) if options.baseline is not None else None
    format = options.format or format_of(options.data)
    reader = RowReader(compile_signature(program.signature), format, expect=options.expect)
    tally = Tally(expect=options.expect, keep_rows=options.baseline_limit if baseline is not None else 0)
    config = _config(options)
    _check_accounts(options.terms, config)
    total = await asyncio.to_thread(_count, options.data, format, options.limit)
    started = monotonic()
    with OutputDirectory(options.out) as output, BatchView(console, name, tally, total) as view:
        runtime = Runtime(config, store=output.journal_path, hooks=[tally.on_event, view.on_event])
        async with runtime:
            deployment = await runtime.start(program, name=name, replicas=options.workers, concurrency=1)
            output.begin()
            _settle_collector(options.workers)

            def sink(outcome: Outcome) -> None:
                output.write(outcome)
                tally.record(outcome)
                view.update()
                _inject(options.inject_crash, tally, deployment, outcome)

            batch = Batch(
                runtime,
                deployment,
                sink,
                workers=options.workers,
                resume=options.resume,
                timeout=options.timeout,
                terms=options.terms,
            )
            async with aclosing(read_rows(options.data, reader, format, limit=options.limit)) as rows:
                await batch.run(rows)
            summary = tally.summary(monotonic() - started, chance_level(program, options.expect))
            if baseline is not None:
                summary["baseline"] = await _compare(options, runtime, baseline, tally)
        output.write_summary(summary)
    console.print()
    if tally.samples:
        console.print(samples_table(tally))
    for line in reasons_lines(tally):
        console.print(line, soft_wrap=True)
    console.print(summary_table(summary))
    console.print(f"[dim]Results are in {escape(str(options.out))}.[/dim]")
    if tally.failed:
        return ExitCode.UNANSWERED
    return ExitCode.REJECTED if tally.rejected else ExitCode.OK


async def _compare(options: RunOptions, runtime: Runtime, baseline: Module, main: Tally) -> dict[str, Any]:
    """Have a second program answer the first rows; return its part of the summary."""
    assert options.baseline is not None
    name = options.baseline.rpartition(":")[2]
    deployment = await runtime.start(baseline, name=f"baseline {name}", replicas=options.workers, concurrency=1)
    tally = Tally(expect=options.expect)
    runtime.hooks.add(tally.on_event)
    batch = Batch(
        runtime,
        deployment,
        tally.record,
        workers=options.workers,
        resume=options.resume,
        timeout=options.timeout,
        terms=options.terms,
    )
    started = monotonic()
    await batch.run(_one_group(main.rows))
    await runtime.stop(deployment)
    return {"program": name, **tally.summary(monotonic() - started, chance=None)}


async def _one_group(rows: list[Row]) -> AsyncIterator[list[Row | Reject]]:
    yield [*rows]


def _settle_collector(workers: int) -> None:
    """Have the garbage collector look often at what the batch makes, and never again at what its start has made.

    A row leaves hardly an object behind, but a group of rows some in cycles that hold all its keys: with as rare a
    look as the command line allows otherwise, 2,000 groups would wait for it, which have 50 MB.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # also counts anew how many old objects there are: full looks are spaced by that
    gc.set_threshold(YOUNG_OBJECTS + YOUNG_OBJECTS_OF_WORKER * workers, *gc.get_threshold()[1:])


def _inject(after: int | None, tally: Tally, deployment: Deployment, outcome: Outcome) -> None:
    """Crash a worker once, when ``after`` rows have been answered by this invocation."""
    fresh = isinstance(outcome, Answered) and not outcome.run.replayed
    if fresh and tally.ok - tally.resumed == after:
        deployment.busiest_worker().kill(InjectedCrash(f"on purpose, after {after} rows"))


def _config(options: RunOptions) -> RuntimeConfig:
    config = load_config(options.config) if options.config is not None else make_config("the environment", {})
    if options.lm is None and ("default" in config.lm or "default" in config.route):
        return config
    model, known = options.lm or "local", config.lm.get("default")
    default = known.model_copy(update={"model": model}) if known is not None else LMConfig(model=model)
    return config.model_copy(update={"lm": {**config.lm, "default": default}})


def _check_accounts(terms: Terms, config: RuntimeConfig) -> None:
    """Raise ConfigError if one that is to pay has no budget: no row would be answered."""
    for account in terms.accounts:
        if account not in config.budgets:
            raise ConfigError(
                f"--account {account}: the configuration has no such budget",
                hint=f'Write in the file of --config: [budgets."{account}"] and below it dollars = 5.',
            )


def _count(data: Source, format: Format, limit: int | None) -> int | None:
    """About how many rows will come; None if only reading them all would tell."""
    if format == "parquet":
        rows = count_rows(data)
    elif (lines := count_lines(data)) is None:
        return limit
    else:
        rows = max(0, lines - 1) if format == "csv" else lines
    return rows if limit is None else min(rows, limit)
