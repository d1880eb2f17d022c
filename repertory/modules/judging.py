"""Judging a reply: its outputs if it can be used, else what to tell the model and what to tell the caller."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repertory.errors import OutputsInvalid, ReplyError
from repertory.modules.adapters import Adapter
from repertory.modules.trace import CheckFailed, TraceEntry
from repertory.providers.messages import LMResponse
from repertory.signatures import CompiledSignature


@dataclass(frozen=True, slots=True)
class Accepted:
    """A reply that can be used, and what had to be done for it."""

    outputs: dict[str, object]
    trace: tuple[TraceEntry, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A reply that cannot be used.

    Attributes:
        error: What the caller is told if nothing better comes.
        feedback: What the model is told when it is asked again; None if that cannot help.
        trace: What was found on the way.
    """

    error: ReplyError
    feedback: str | None
    trace: tuple[TraceEntry, ...] = ()


def judge(
    adapter: Adapter, compiled: CompiledSignature, inputs: Mapping[str, Any], response: LMResponse
) -> Accepted | Refused:
    """Read ``response`` as the outputs of ``compiled`` and hold them against its checks."""
    try:
        reading = adapter.parse(compiled, response.text)
    except OutputsInvalid as fault:
        return _unreadable(fault, response)
    if reading.truncated or (reading.open_ended and response.finish_reason == "length"):
        return _unreadable(OutputsInvalid("", "the reply ends in the midst of a value"), response)
    if not compiled.checks:
        return Accepted(reading.outputs, reading.changes)
    trace: list[TraceEntry] = list(reading.changes)
    for check in compiled.checks:
        message = check.failure(inputs, reading.outputs)
        if message is not None:
            trace.append(CheckFailed(check.name, message, check.required))
    failed = [entry for entry in trace if isinstance(entry, CheckFailed) and entry.required]
    if not failed:
        return Accepted(reading.outputs, tuple(trace))
    told = "; ".join(entry.message for entry in failed)
    error = ReplyError(
        f"the outputs do not pass check {failed[0].check}: {failed[0].message}",
        field="",
        reply=response.text,
        hint="The raw reply is in `reply`. Raise `corrections`, or make the check `required=False`.",
    )
    return Refused(error, told, tuple(trace))


def require_whole(answer: LMResponse) -> None:
    """Refuse an answer in the model's own words that is cut off, or none.

    Raises:
        ReplyError: With the reason and the remedy.
    """
    if answer.finish_reason in ("length", "refusal") or not answer.text.strip():
        raise _unreadable(OutputsInvalid("", "the model gave no whole answer"), answer).error


def _unreadable(fault: OutputsInvalid, response: LMResponse) -> Refused:
    feedback: str | None = f"{fault.field}: {fault.reason}" if fault.field else fault.reason
    if response.finish_reason == "length":
        hint = "The reply was cut off at the token limit: raise max_tokens, or ask for less."
        feedback = None
    elif response.finish_reason == "refusal":
        hint = "The model refused. Its words are in `reply`."
        feedback = None
    else:
        hint = "The raw reply is in `reply`. Demonstrations, or a model that constrains its output, help."
    where = f"output {fault.field!r}: " if fault.field else ""
    error = ReplyError(f"{where}{fault.reason}", field=fault.field, reply=response.text, hint=hint)
    return Refused(error, feedback)
