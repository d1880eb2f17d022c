"""The commands of ``repertory runs``. What they do is imported when they are called."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Group, Parameter
from cyclopts.validators import Number

from repertory.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from repertory.cli.runs import RunsReport

runs_app = App(
    name="runs",
    help="Show what is known of runs, and speak to them.\n\n"
    "Exit status: 0 done; 2 arguments, no such run, or one that has ended; 5 (retry) no daemon answers.",
)
debug_group = Group("Trouble")
Debug = Annotated[bool, Parameter(group=debug_group, negative="", help="Show the traceback of an error.")]
Limit = Annotated[int, Parameter(validator=Number(gte=1))]
Status = Literal["accepted", "ok", "failed", "cancelled", "held"]


@Parameter(name="*")
@dataclass(frozen=True)
class Where:
    """Which store, and how it is shown.

    Parameters
    ----------
    config
        The daemon's TOML file, which names the store; without, the default one.
    store
        The store itself, such as out/journal.db of `repertory run`.
    """

    config: Path | None = None
    store: str | None = None

    def report(self, *, json: bool = False) -> "RunsReport":
        """What shows the runs there."""
        from repertory.cli.console import ReportConsole
        from repertory.cli.runs import RunsReport

        return RunsReport(ReportConsole(), self.config, self.store, json)


HERE = Where()
Json = Annotated[bool, Parameter(negative="", help="Print the data as JSON, one object a line.")]


@runs_app.command(name="list")
def list_runs(
    *,
    program: str | None = None,
    status: Status | None = None,
    limit: Limit = 20,
    json: Json = False,
    where: Where = HERE,
    debug: Debug = False,
) -> ExitCode:
    """List the latest runs.

    Parameters
    ----------
    program
        Those of this program alone.
    status
        Those in this state alone.
    limit
        How many.
    """
    return where.report(json=json).list(program, status, limit)


@runs_app.command
def show(id: str, /, *, json: Json = False, where: Where = HERE, debug: Debug = False) -> ExitCode:
    """Show all that is known of the run ID."""
    return where.report(json=json).show(id)


@runs_app.command
def steps(id: str, /, *, json: Json = False, where: Where = HERE, debug: Debug = False) -> ExitCode:
    """Show the steps of the run ID that have ended."""
    return where.report(json=json).steps(id)


@runs_app.command
def events(
    id: str,
    /,
    *,
    after: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
    json: Json = False,
    where: Where = HERE,
    debug: Debug = False,
) -> ExitCode:
    """Show the log of the run ID.

    Parameters
    ----------
    after
        Only the events with higher numbers than this.
    """
    return where.report(json=json).events(id, after)


@runs_app.command
def uncertain(
    id: str | None = None,
    /,
    *,
    limit: Limit = 100,
    json: Json = False,
    where: Where = HERE,
    debug: Debug = False,
) -> ExitCode:
    """List the calls of which nobody knows whether they were billed, of the run ID or of all.

    Parameters
    ----------
    limit
        How many, the latest first.
    """
    return where.report(json=json).uncertain(id, limit)


@runs_app.command
def cancel(id: str, /, *, where: Where = HERE, debug: Debug = False) -> ExitCode:
    """Ask the run ID to stop, wherever it is executed."""
    return where.report().cancel(id)


@runs_app.command
def signal(
    id: str,
    name: str,
    value: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,  # for numbers below 0
    /,
    *,
    where: Where = HERE,
    debug: Debug = False,
) -> ExitCode:
    """Send the run ID the signal NAME, which its program waits for.

    Parameters
    ----------
    value
        JSON, such as '{"approved": true}'; without, null.
    """
    return where.report().signal(id, name, value)


@runs_app.command
def retry(
    id: str,
    config: Path | None = None,
    /,
    *,
    socket: Path | None = None,
    debug: Debug = False,
) -> ExitCode:
    """Go on with the run ID that failed, was cancelled or is held: what failed of it is asked again.

    That takes a process that has its program: the running daemon does it.

    Parameters
    ----------
    config
        The daemon's TOML file; without, the default store's daemon is asked.
    socket
        The daemon's admin socket, instead of its configuration.
    """
    from repertory.cli.console import ReportConsole
    from repertory.cli.runs import retry as retry_run

    return retry_run(id, config, socket, ReportConsole())


@runs_app.command
def prune(*, older_than: str, json: Json = False, where: Where = HERE, debug: Debug = False) -> ExitCode:
    """Remove the runs that ended long ago, with their logs.

    Parameters
    ----------
    older_than
        How long ago at least, such as 30d, 12h or 90m.
    """
    return where.report(json=json).prune(older_than)
