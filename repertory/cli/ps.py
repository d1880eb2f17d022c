"""``repertory ps``: the supervision tree of a running daemon, or its endpoints."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from repertory.cli.daemon_client import (
    DaemonUnreachable,
    ask_endpoints,
    ask_tree,
    read_endpoints,
    read_tree,
)
from repertory.cli.endpoint_view import endpoint_lines
from repertory.cli.exit_codes import ExitCode
from repertory.cli.printable import printable
from repertory.cli.tree_view import tree_lines
from repertory.errors import ConfigError


@dataclass(frozen=True, slots=True)
class View:
    """A part of a daemon's state: how it is asked for, and how the answer is shown in so many cells."""

    ask: Callable[[Path], Any]
    lines: Callable[[Path, Any, int], list[Text]]


TREE_VIEW = View(ask_tree, lambda path, answer, width: tree_lines(read_tree(path, answer), width))
ENDPOINT_VIEW = View(
    ask_endpoints, lambda path, answer, width: endpoint_lines(read_endpoints(path, answer), width)
)


@dataclass(frozen=True, slots=True)
class Report:
    """Shows a part of the state of the daemon at ``socket`` on ``console``.

    Args:
        as_json: Whether as JSON, for other programs.
    """

    socket: Path
    console: Console
    as_json: bool = False
    view: View = TREE_VIEW

    def once(self) -> ExitCode:
        """Show it. Raises DaemonUnreachable, ConfigError."""
        self._write(self._ask(indent=2))
        return ExitCode.OK

    def watch(self, seconds: float, pause: Callable[[float], None] = time.sleep) -> ExitCode:
        """Show it every ``seconds`` until Ctrl-C; a daemon that ends is waited for.

        Raises DaemonUnreachable if there is none in the beginning, ConfigError.
        """
        lines = self._ask()
        try:
            while True:
                self._show_again(lines, seconds)
                pause(seconds)
                try:
                    lines = self._ask()
                except DaemonUnreachable as error:
                    lines = self._told(error)
        except KeyboardInterrupt:
            return ExitCode.OK

    def _ask(self, indent: int | None = None) -> list[Text]:
        answer = self.view.ask(self.socket)
        if self.as_json:
            # Escaped beyond ASCII: what models and servers say must not steer a terminal that shows it.
            return [Text(json.dumps(answer, indent=indent))]
        return self.view.lines(self.socket, answer, self.console.width)

    def _told(self, error: DaemonUnreachable) -> list[Text]:
        if self.as_json:
            return [Text(json.dumps({"error": error.message}))]
        return [Text(line, "red") for line in printable(str(error)).splitlines()]

    def _show_again(self, lines: list[Text], seconds: float) -> None:
        if not self.as_json:
            lines = [Text(f"{time.strftime('%H:%M:%S')}, every {seconds:g} s; Ctrl-C ends", "dim"), *lines]
            if self.console.is_terminal:
                self.console.clear()
                lines = _cropped(lines, self.console.height)
        self._write(lines)

    def _write(self, lines: list[Text]) -> None:
        text = Text("\n").join(lines)
        if self.as_json:
            self.console.out(text.plain, highlight=False)  # megabytes, in a moment
        else:
            self.console.print(text, soft_wrap=True, highlight=False)


def socket_of(config: Path | None, socket: Path | None) -> Path:
    """The admin socket that the arguments mean. Raises ConfigError."""
    if socket is not None:
        if config is not None:
            raise ConfigError(
                f"--socket {socket} and the configuration {config} are one too many", hint="Name one."
            )
        return socket
    from repertory.runtime.config import load_config, make_config

    settings = load_config(config) if config is not None else make_config("the environment", {})
    if (path := settings.admin_socket) is None:
        raise ConfigError(
            f'{config or "the environment"}: server.admin_socket = "": the daemon has no admin socket',
            hint="Remove the setting, and restart the daemon.",
        )
    return path


def _cropped(lines: list[Text], height: int) -> list[Text]:
    """``lines`` as far as the screen goes, with a word about the rest."""
    room = max(height - 1, 2)  # the cursor waits on the last one
    if len(lines) <= room:
        return lines
    return [
        *lines[: room - 1],
        Text(f"… {len(lines) - room + 1} more lines; without --watch all are shown", "dim"),
    ]
