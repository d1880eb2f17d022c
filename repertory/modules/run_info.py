"""What every step of a run is told of it, wherever it is done."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from repertory.providers.messages import TERMS, Terms


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The context of a run.

    Attributes:
        id: Its id in the journal.
        program: The program's name.
        deadline: Point on the clock's ``monotonic()`` after which nobody waits for it.
        terms: On whose behalf models are asked (``caller`` is the tenant), who pays, and with what priority.
        trace: The caller's trace context (W3C ``traceparent``); "" where there is none.
        tags: What the caller wants to find it by.
        durable: Whether it outlives this process.
    """

    id: str
    program: str
    deadline: float
    terms: Terms = TERMS
    trace: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    durable: bool = False
