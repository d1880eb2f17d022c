"""A console whose reader may leave: nobody's work ends because nobody looks on."""

from rich.console import Console


class PatientConsole(Console):
    """Falls silent where rich would end the process."""

    def on_broken_pipe(self) -> None:
        """Write nothing more."""
        self.quiet = True
