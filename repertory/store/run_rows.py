"""Runs as the database keeps them: what is written of them, and what is read."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run that is to be done. Texts that hold JSON say so; points in time are seconds since the Unix epoch."""

    id: str
    program: str
    key: str
    fingerprint: str
    code: str
    inputs: str  # JSON
    owner: str
    submitted: bool
    terms: str | None  # JSON
    deadline_at: float | None
    parent: str | None
    tags: str | None  # JSON
    accepted_at: float


@dataclass(frozen=True, slots=True)
class NewEvent:
    """Something happened in a run."""

    run_id: str
    id: int
    kind: str
    data: str  # JSON
    at: float


@dataclass(frozen=True, slots=True)
class RunEnd:
    """A run has ended, for now: one that failed may be tried again."""

    run_id: str
    status: str  # ok | failed | cancelled
    outputs: str | None  # JSON
    error_code: str | None
    error_message: str | None
    input_tokens: int
    output_tokens: int
    lm_calls: int
    nano_cost: int
    seconds: float
    finished_at: float


@dataclass(frozen=True, slots=True)
class Uncertain:
    """A call of a model of which nobody knows whether it was billed."""

    run_id: str
    event_id: int  # of its intent
    endpoint: str
    request_hash: str
    nano_most: int | None
    tokens_most: int | None
    policy: str
    found_at: float


@dataclass(frozen=True, slots=True)
class Content:
    """A large value that events refer to."""

    hash: str
    data: str
    used_at: float


RunEntry: TypeAlias = NewRun | NewEvent | RunEnd | Uncertain | Content


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as the database has it."""

    id: str
    program: str
    key: str
    fingerprint: str
    code: str | None
    inputs: str  # JSON
    status: str  # accepted | ok | failed | cancelled
    outputs: str | None  # JSON
    error_code: str | None
    error_message: str | None
    input_tokens: int
    output_tokens: int
    lm_calls: int
    nano_cost: int
    uncertain_calls: int
    nano_uncertain: int
    seconds: float | None
    owner: str | None
    submitted: bool
    terms: str | None  # JSON
    tags: str | None  # JSON
    parent: str | None
    deadline_at: float | None
    accepted_at: float
    finished_at: float | None


@dataclass(frozen=True, slots=True)
class RunMessage:
    """Something that was said to a run from outside."""

    id: str
    run_id: str
    kind: str  # signal | cancel
    data: str  # JSON
    at: float
