"""What ``repertory`` tells the shell; documented in docs/cli.md."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit statuses of every command."""

    OK = 0
    FAILED = 1  # something unforeseen, or the system under the program gave up
    USAGE = 2  # arguments, configuration or set-up: nothing was asked
    REJECTED = 3  # done, but some rows were not fit to ask
    UNANSWERED = 4  # done, but some rows have no answer (some may be rejected as well)
    NO_DAEMON = 5  # no daemon answers at the admin socket
    INTERRUPTED = 130  # Ctrl-C; the same command goes on where this one stopped
    TERMINATED = 143  # SIGTERM; likewise
