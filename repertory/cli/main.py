"""The ``repertory`` command.

Commands are imported when they are called, so that ``--help`` answers at once.
"""

import gc
import sys
from math import inf
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from repertory import __version__
from repertory.cli.exit_codes import ExitCode
from repertory.cli.printable import printable
from repertory.cli.runs_app import Debug, runs_app
from repertory.errors import RepertoryError, RestartLimitReached, RuntimeClosed, StartFailed
from repertory.providers.messages import Priority, SchemaDialect, Terms

YOUNG_OBJECTS = 200_000  # until the garbage collector looks at them
EPILOGUE = """Examples:

  repertory doctor
  repertory inspect examples/news.py:classify
  repertory graph examples/report.toml
  repertory run examples/news.py:classify articles.jsonl --workers 8
  repertory run examples/news.py:classify - < articles.jsonl
  repertory serve configs/local.toml
  repertory ps configs/local.toml
  repertory runs list --config configs/local.toml --status failed
"""

app = App(
    name="repertory",
    help="Run language-model programs as supervised actors.",
    help_epilogue=EPILOGUE,
    help_format="plaintext",
    version=__version__,
)
app.command(runs_app)
AtLeastOne = Number(gte=1)


@app.command
def run(
    program: str,
    data: Annotated[str, Parameter(allow_leading_hyphen=True)],  # for "-"
    /,
    *,
    out: Path = Path("out"),
    workers: Annotated[int, Parameter(validator=AtLeastOne)] = 4,
    limit: Annotated[int | None, Parameter(validator=AtLeastOne)] = None,
    resume: bool = True,
    expect: str | None = None,
    baseline: str | None = None,
    baseline_limit: Annotated[int, Parameter(validator=AtLeastOne)] = 20,
    lm: str | None = None,
    config: Path | None = None,
    format: Literal["jsonl", "csv", "parquet"] | None = None,
    timeout: Annotated[float, Parameter(validator=Number(gt=0, lt=inf))] = 300.0,
    account: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    priority: Priority = "normal",
    caller: str = "",
    inject_crash: Annotated[int | None, Parameter(validator=AtLeastOne)] = None,
    debug: Debug = False,
) -> ExitCode:
    """Answer every row of DATA with PROGRAM.

    Interrupted, by Ctrl-C or kill -9, the same command goes on: finished rows are not asked again.

    Exit status: 0 all answered; 2 arguments or set-up; 3 some rows rejected; 4 some rows unanswered; 130, 143
    interrupted; 1 anything else.

    Parameters
    ----------
    program
        path.py:name or package.module:name of a Module or of a function that makes one, or a TOML file.
    data
        A JSONL, CSV or Parquet file of rows of inputs, also .jsonl.gz, .csv.gz; - is standard input (JSON lines).
    out
        Directory for results.jsonl, rejects.jsonl, summary.json and the journal.
    workers
        Rows worked on at a time, each by an actor of its own.
    limit
        Stop after this many rows.
    resume
        Read what was answered earlier from the journal instead of asking again.
    expect
        Column with the right answers: the output of this name is compared with it.
    baseline
        A second program that answers the first rows, to compare with.
    baseline_limit
        How many rows the baseline answers.
    lm
        The model: local, local/PATH.gguf or PROVIDER/NAME; by default that of --config, else local.
    config
        A TOML file such as configs/openai.toml.
    format
        Format of DATA, where its name does not tell.
    timeout
        Seconds a row may take, retries included.
    account
        A budget of --config that pays for the rows, beside `global`; may be given several times.
    priority
        Which calls come first where they wait for the endpoint.
    caller
        On whose behalf the rows are asked: callers take turns at the endpoint.
    inject_crash
        Crash one worker after this many answers, to watch it being restarted.
    """
    from repertory.cli.console import PatientConsole
    from repertory.cli.run import RunOptions, run_batch

    options = RunOptions(
        program=program,
        data="-" if data == "-" else Path(data),
        out=out,
        workers=workers,
        limit=limit,
        resume=resume,
        inject_crash=inject_crash,
        lm=lm,
        config=config,
        format=format,
        expect=expect,
        baseline=baseline,
        baseline_limit=baseline_limit,
        timeout=timeout,
        terms=Terms(caller=caller, priority=priority, accounts=account),
    )
    return run_batch(options, PatientConsole(stderr=True))


@app.command
def serve(config: Path, /, *, debug: Debug = False) -> ExitCode:
    """Serve the programs of a configuration over HTTP until SIGTERM or Ctrl-C.

    Parameters
    ----------
    config
        A TOML file such as configs/local.toml.
    """
    from repertory.runtime.config import load_config
    from repertory.server.process import run_daemon

    return ExitCode(run_daemon(load_config(config), str(config)))


@app.command
def ps(
    config: Path | None = None,
    *,
    socket: Path | None = None,
    endpoints: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
    watch: Annotated[float | None, Parameter(validator=Number(gte=0.1, lt=inf))] = None,
    debug: Debug = False,
) -> ExitCode:
    """Show the supervision tree, or the endpoints, of a daemon that runs on this machine.

    Exit status: 0 shown; 2 arguments or configuration; 5 no daemon answers.

    Parameters
    ----------
    config
        The daemon's TOML file; without, the default store's daemon is asked.
    socket
        The daemon's admin socket, instead of its configuration.
    endpoints
        Show the language models' endpoints: health, circuits, limits.
    json
        Print the data as JSON.
    watch
        Show it again every so many seconds, until Ctrl-C.
    """
    from repertory.cli.console import ReportConsole
    from repertory.cli.ps import ENDPOINT_VIEW, TREE_VIEW, Report, socket_of

    view = ENDPOINT_VIEW if endpoints else TREE_VIEW
    report = Report(socket_of(config, socket), ReportConsole(), json, view)
    return report.once() if watch is None else report.watch(watch)


@app.command
def circuit(
    endpoint: str,
    state: Literal["open", "closed", "auto"],
    config: Path | None = None,
    /,
    *,
    socket: Path | None = None,
    debug: Debug = False,
) -> ExitCode:
    """Keep the circuit of an endpoint of a running daemon open or closed, or leave it to itself again.

    Open, nothing is asked there, and routes ask others; closed, everything is, whatever happens. It stays so over
    restarts. Exit status: 0 done; 2 arguments, configuration or no such endpoint; 5 no daemon answers.

    Parameters
    ----------
    endpoint
        Its name in the configuration.
    state
        `open`, `closed`, or `auto`: as the circuit breaker decides.
    config
        The daemon's TOML file; without, the default store's daemon is asked.
    socket
        The daemon's admin socket, instead of its configuration.
    """
    from repertory.cli.console import ReportConsole
    from repertory.cli.daemon_client import force_circuit
    from repertory.cli.ps import ENDPOINT_VIEW, Report, View, socket_of

    forcing = View(lambda path: force_circuit(path, endpoint, state), ENDPOINT_VIEW.lines)
    return Report(socket_of(config, socket), ReportConsole(), view=forcing).once()


@app.command
def inspect(
    program: str,
    /,
    *,
    dialect: SchemaDialect | None = None,
    adapter: str | None = None,
    json: Annotated[bool, Parameter(negative="")] = False,
    debug: Debug = False,
) -> ExitCode:
    """Show what PROGRAM asks, without asking: signatures, prompts, schemas, and advice.

    Parameters
    ----------
    program
        path.py:name or package.module:name of a Module or of a function that makes one, or a TOML file.
    dialect
        How the endpoint constrains replies; by it `auto` picks the adapter. Without, it does not.
    adapter
        Show this adapter's prompt: chat, json, baml, xml, two_step.
    json
        Print the data as JSON.
    """
    from rich.console import Console

    from repertory.cli.inspect import inspect_program

    return inspect_program(program, dialect, adapter, json, Console())


@app.command
def graph(
    program: str,
    /,
    *,
    format: Literal["text", "mermaid", "svg", "json"] = "text",
    out: Path | None = None,
    debug: Debug = False,
) -> ExitCode:
    """Show which calls PROGRAM makes and what they need of each other, without asking; check that they fit.

    Its code runs with references in place of values; a program that decides by a value has no such graph.

    Exit status: 0 nothing wrong was found; 2 arguments or program; 3 something in it cannot work.

    Parameters
    ----------
    program
        path.py:name or package.module:name of a Module, or a TOML or YAML file that defines one.
    format
        text lists levels, critical path and problems; mermaid and svg draw it; json is for programs.
    out
        Write it to this file.
    """
    from rich.console import Console

    from repertory.cli.graph import show_graph

    return show_graph(program, format, out, Console())


@app.command
def import_dspy(
    file: Path,
    /,
    *,
    program: str,
    check: Annotated[bool, Parameter(negative="")] = False,
    out: Path | None = None,
    config: Path | None = None,
    debug: Debug = False,
) -> ExitCode:
    """Show what of a state that DSPy saved takes effect in a program.

    To use it, call program.load_dspy_state(FILE) where the program is made; this command changes nothing.

    Exit status: 0 all taken; 2 arguments, file or program; 3 something was not taken.

    Parameters
    ----------
    file
        A JSON file that dspy.Module.save wrote; no pickle.
    program
        path.py:name or package.module:name of a Module or of a function that makes one, or a TOML file.
    check
        Show only what was not taken.
    out
        Write the state of the loaded program there, as DSPy reads it.
    config
        A TOML file: its language models are those of the state with the same address.
    """
    from repertory.cli.console import ReportConsole
    from repertory.cli.import_dspy import ImportOptions
    from repertory.cli.import_dspy import import_dspy as show_import

    options = ImportOptions(file=file, program=program, check=check, out=out, config=config)
    return show_import(options, ReportConsole())


@app.command
def doctor(config: Path | None = None, /, *, debug: Debug = False) -> ExitCode:
    """Check the set-up; say what is missing and the command that mends it.

    Parameters
    ----------
    config
        A TOML file to check as well.
    """
    from rich.console import Console

    from repertory.cli.doctor import examine

    return examine(config, Console())


def main() -> None:
    """Entry point: run the command line, tell errors in one line, exit with a documented status."""
    # A thousand calls in flight are 70,000 objects, none of them garbage: to look for some after every 700 new
    # ones, as CPython does by itself, takes a fifth of their time. Calls leave next to no cycles behind.
    gc.set_threshold(YOUNG_OBJECTS, *gc.get_threshold()[1:])
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    try:
        status = app(arguments, exit_on_error=False, result_action="return_value")
    except CycloptsError:
        sys.exit(ExitCode.USAGE)  # cyclopts has said what is wrong
    except RepertoryError as error:
        if debug:
            raise
        print(f"error: {printable(str(_told(error)))}", file=sys.stderr)  # noqa: T201  # this is where errors are shown
        sys.exit(_status(error))
    except KeyboardInterrupt:  # before there was anything to interrupt
        sys.exit(ExitCode.INTERRUPTED)
    sys.exit(status if isinstance(status, int) else ExitCode.OK)


def _told(error: RepertoryError) -> RepertoryError:
    """The error that says most: what a start failed of, not that it failed."""
    wrappers = StartFailed | RuntimeClosed | RestartLimitReached
    while isinstance(error, wrappers) and isinstance(error.__cause__, RepertoryError):
        error = error.__cause__
    return error


def _status(error: RepertoryError) -> ExitCode:
    from repertory.cli.daemon_client import DaemonUnreachable
    from repertory.errors import ConfigError, ProgramError, RunUnknown, SignatureError, StoreTooNew

    told = _told(error)
    if isinstance(told, DaemonUnreachable):
        return ExitCode.NO_DAEMON
    usage = isinstance(told, ConfigError | ProgramError | RunUnknown | SignatureError | StoreTooNew)
    return ExitCode.USAGE if usage else ExitCode.FAILED
