"""A function's call on its way to a worker process, and what came of it on its way back.

They travel by pickle: nothing from outside may be handed over unchecked.
"""

import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVarTuple

from repertory.errors import ProgramError, WorkerCrashed

Args = TypeVarTuple("Args")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call, as it travels.

    Attributes:
        kind: Whether ``content`` is what it ``returned`` or the error it ``raised``; or that it ``quit``, by what
            is meant to end a process; or that function or arguments were ``unknown`` to the process.
        content: A pickle; empty where it could not be made, or is not wanted.
        told: In words, for where there is no content, or it cannot be read.
    """

    kind: Literal["returned", "raised", "quit", "unknown"]
    content: bytes
    told: str


def packed(name: str, function: Callable[[*Args], object], args: tuple[*Args]) -> bytes:
    """The call as `perform` takes it. Raises ProgramError if it cannot be sent."""
    try:
        pickle.dumps(function)
    except Exception as error:
        raise ProgramError(
            f"{name} cannot be sent to a worker process: {error}",
            hint="Define it with `def` at the top level of a module: no lambda, no function within another.",
        ) from error
    try:
        return pickle.dumps((function, args), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise ProgramError(
            f"an argument of {name} cannot be sent to a worker process: {error}",
            hint="Hand over plain data, and let the function open files and connections itself.",
        ) from error


def perform(job: bytes) -> Outcome:
    """In the process: do it, and see that the outcome can be sent."""
    try:
        function, args = pickle.loads(job)
    except Exception as error:  # noqa: BLE001  # whatever it is, the caller is told
        return Outcome("unknown", b"", repr(error))
    try:
        result = function(*args)
        return _sendable("returned", result, type(result).__name__)
    except Exception as error:  # noqa: BLE001  # it is the caller's
        error.add_note(f"In the worker process:\n{traceback.format_exc()}")
        return _sendable("raised", error, repr(error))
    except BaseException as error:  # noqa: BLE001  # it ends the function, not the process, nor who waits for it
        return Outcome("quit", b"", repr(error))


def _sendable(kind: Literal["returned", "raised"], content: object, told: str) -> Outcome:
    try:
        return Outcome(kind, pickle.dumps(content, pickle.HIGHEST_PROTOCOL), told)
    except Exception as error:  # noqa: BLE001  # likewise
        return Outcome(kind, b"", f"{told} ({error})")


def content_of(name: str, outcome: Outcome) -> object:
    """What the function returned. Raises what it raised, and as `Processes.run`."""
    match outcome.kind:
        case "quit":
            raise WorkerCrashed(
                f"{name} ended its process by {outcome.told}", hint="Let it return, or raise an error."
            )
        case "unknown":
            raise ProgramError(
                f"{name} or an argument cannot be found in a worker process: {outcome.told}",
                hint="Put it into a module that can be imported by its name.",
            )
    try:
        content = pickle.loads(outcome.content)
    except Exception as error:  # errors whose classes want more arguments than their message, among others
        raise ProgramError(
            f"{name} {outcome.kind} what cannot be sent between processes: {outcome.told}",
            hint="Let it return plain data, and raise errors that are made of one text.",
        ) from error
    if outcome.kind == "raised":
        raise content
    return content
