"""What the tests of worker processes have computed: in a module of its own, which a worker imports quickly."""

import os
import signal
import sys
import time
from pathlib import Path


class Picky(Exception):
    """Wants more than a text, so that pickle cannot make it again."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")


def add(a: int, b: int) -> int:
    return a + b


def say(word: str) -> int:
    """Print in both ways there are."""
    print(f"Python says {word}", flush=True)  # noqa: T201  # the point
    os.write(1, f"C says {word}\n".encode())
    assert sys.stdin.read() == ""
    return len(word)


def refuse(reason: str) -> None:
    raise ValueError(reason)


def refuse_pickily() -> None:
    raise Picky("age", "too low")


def give_a_lambda() -> object:
    return lambda: 1


def exit_at_once() -> None:
    os._exit(3)


def exit_politely() -> None:
    sys.exit(3)


def interrupt() -> None:
    raise KeyboardInterrupt


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave_trace(trace: str) -> None:
    """Leave the process's number in the file ``trace``."""
    written = Path(trace + ".new")
    written.write_text(str(os.getpid()), encoding="ascii")
    written.rename(trace)


def hang(trace: str) -> None:
    """Leave a trace, and stay; nobody who waits for it will see it return."""
    leave_trace(trace)
    time.sleep(600)
