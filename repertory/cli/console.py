"""Consoles whose reader may leave."""

import os
import sys
from io import TextIOWrapper

from rich.console import Console

from repertory.cli.exit_codes import ExitCode


class PatientConsole(Console):
    """Falls silent where rich would end the process: no work ends because nobody looks on."""

    def on_broken_pipe(self) -> None:
        """Write nothing more."""
        self.quiet = True


class ReportConsole(Console):
    """Standard output for a command whose whole work is to write: a reader that has seen enough ends it.

    What the terminal's encoding has no character for is shown as ``?``.
    """

    def __init__(self) -> None:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")
        super().__init__()

    def on_broken_pipe(self) -> None:
        """End the process in peace, as in ``repertory ps | head -1``."""
        self.quiet = True
        # The interpreter flushes standard output once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(ExitCode.OK)
