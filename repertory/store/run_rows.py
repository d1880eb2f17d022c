"""Runs as the database keeps them: what is written of them, and what is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

Contents: TypeAlias = Mapping[str, bytes]
"""Contents that an entry refers to, by hash; see `contents.py`. They are written with it or not at all."""


class NewRun(NamedTuple):
    """A run that is to be done. Texts that hold JSON say so; points in time are seconds since the Unix epoch."""

    id: str
    program: str
    key: str
    fingerprint: str
    code: str
    inputs: str  # JSON
    owner: str | None  # None: it waits for a process that has room for it
    submitted: bool
    terms: str | None  # JSON
    deadline_at: float | None
    parent: str | None
    tags: str | None  # JSON
    accepted_at: float
    priority: int = 1  # what waits is begun by it, the lowest first
    said: str = "{}"  # JSON: the data of its first event


class NewEvent(NamedTuple):
    """Something happened in a run."""

    run_id: str
    id: int
    kind: str
    data: str  # JSON
    at: float


class RunEnd(NamedTuple):
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


class Uncertain(NamedTuple):
    """A call of a model of which nobody knows whether it was billed."""

    run_id: str
    event_id: int  # of its intent
    endpoint: str
    request_hash: str
    nano_most: int | None
    tokens_most: int | None
    policy: str
    found_at: float


RunEntry: TypeAlias = NewRun | NewEvent | RunEnd | Uncertain


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as the database has it.

    Attributes:
        inputs, outputs: Whole, unless whoever hands it out says that they may refer to contents.
    """

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
