"""Stopping: what SIGTERM and SIGINT ask of the daemon."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from repertory.server.cutoff import Cutoff

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class Stop:
    """The operator's wish: at first that the daemon ends in good order, then that it ends at once.

    Attributes:
        asked: Set by the first request.
        starting: Cut by the first request; covers what need not be finished if nobody wants it any more.
        draining: Cut by the second; covers the wait for requests under way.
        exit_code: 0, or after a second request what a shell calls the end by its signal.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.starting = Cutoff()
        self.draining = Cutoff()
        self.exit_code = 0

    def request(self, signal_number: int) -> None:
        """Ask once more."""
        if not self.asked.is_set():
            self.asked.set()
            self.starting.cut()
        elif not self.exit_code:
            self.exit_code = 128 + signal_number
            self.draining.cut()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Have SIGTERM and SIGINT ask; only in the main thread."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.request, number)
        try:
            yield
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)
