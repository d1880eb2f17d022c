"""What a worker process does: one job after the other, until its owner is gone.

A frame is the length of a job or an outcome, in 8 bytes; with a job, the seconds it may take; and its content.
"""

import os
import pickle
import signal
import sys
from struct import Struct
from typing import BinaryIO

from repertory.runtime.errand import perform

JOB = Struct("!Qd")
OUTCOME = Struct("!Q")
GRACE = 1.0  # seconds beyond its time after which a job ends its process, if the owner has not
LONGEST = 1e8  # seconds that timers can count everywhere


def main() -> None:
    """Serve the owner at the other end of standard input and output."""
    jobs, outcomes = _pipes()
    # Ctrl-C goes to all processes of a terminal; whether that ends this one is for the owner to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while header := jobs.read(JOB.size):
        length, seconds = JOB.unpack(header)
        content = jobs.read(length)
        # An owner that was killed ends nothing any more; the alarm does, even what never comes back to Python.
        signal.setitimer(signal.ITIMER_REAL, min(seconds, LONGEST) + GRACE)
        outcome = pickle.dumps(perform(content), pickle.HIGHEST_PROTOCOL)
        signal.setitimer(signal.ITIMER_REAL, 0)
        try:
            outcomes.write(OUTCOME.pack(len(outcome)) + outcome)
        except BrokenPipeError:
            return


def _pipes() -> tuple[BinaryIO, BinaryIO]:
    """Standard input and output, kept from the functions: what they print goes to standard error."""
    jobs, outcomes = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return os.fdopen(jobs, "rb"), os.fdopen(outcomes, "wb", buffering=0)
