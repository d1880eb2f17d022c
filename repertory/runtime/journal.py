"""The journal: what was asked, what came of it, and which steps need not be paid for again."""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects.postgresql import insert  # SQLite understands its clause

from repertory.clock import Clock
from repertory.errors import RepertoryError
from repertory.modules import Prediction
from repertory.providers.messages import Usage
from repertory.runtime.watched_writes import WatchedWrites
from repertory.signatures.json_text import dump_json, load_json
from repertory.store import Store
from repertory.store.tables import runs, steps

_ACCEPT = insert(runs).on_conflict_do_nothing()
_RECORD_STEP = insert(steps).on_conflict_do_nothing()
_FINISH = (
    update(runs)
    .where(runs.c.id == bindparam("of_run"), runs.c.status != "ok")  # an outcome is recorded once
    .values({name: bindparam(f"new_{name}") for name in ("status", "outputs", "error_code", "error_message")})
    .values({name: bindparam(f"new_{name}") for name in ("input_tokens", "output_tokens", "lm_calls")})
    .values({name: bindparam(f"new_{name}") for name in ("seconds", "finished_at")})
)


@dataclass(frozen=True, slots=True)
class StepKey:
    """Which step of a run: the ``occurrence``-th finished call of ``predictor`` with these inputs, from 0."""

    predictor: str
    input_hash: str
    occurrence: int


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """A finished step."""

    outputs: dict[str, Any]  # JSON values
    parameters_version: int
    usage: Usage


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run as the journal has it; ``outputs`` where it ended well."""

    id: str
    fingerprint: str
    inputs: str  # JSON
    status: str  # accepted | ok | failed
    outputs: dict[str, Any] | None
    usage: Usage
    lm_calls: int
    seconds: float


class Journal:
    """Runs and their steps in a store.

    Invariants: a run that was accepted is found again under its key; a step or outcome is recorded at most once.

    Attributes:
        writes: Tells whether it can be written.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self.writes = WatchedWrites(store, clock)
        self._store = store
        self._clock = clock

    async def find(self, program: str, keys: Iterable[str]) -> dict[str, RecordedRun]:
        """The runs of ``program`` known under these keys, by key."""
        keys_by_id = {run_id(program, key): key for key in keys}
        columns = runs.c
        rows = await self._store.read(
            select(
                columns.id,
                columns.fingerprint,
                columns.inputs,
                columns.status,
                columns.outputs,
                columns.input_tokens,
                columns.output_tokens,
                columns.lm_calls,
                columns.seconds,
            ).where(columns.id.in_(keys_by_id))
        )
        return {
            keys_by_id[row.id]: RecordedRun(
                row.id,
                row.fingerprint,
                row.inputs,
                row.status,
                load_json(row.outputs) if row.outputs is not None else None,
                Usage(row.input_tokens, row.output_tokens),
                row.lm_calls,
                row.seconds or 0.0,
            )
            for row in rows
        }

    async def accept(self, program: str, key: str, fingerprint: str, inputs: Mapping[str, Any]) -> str:
        """Record that the run is to be done; return its id once that is on disk."""
        id = run_id(program, key)
        await self.writes.write(
            _ACCEPT,
            {
                "id": id,
                "program": program,
                "key": key,
                "fingerprint": fingerprint,
                "inputs": _json(inputs),
                "status": "accepted",
                "input_tokens": 0,
                "output_tokens": 0,
                "lm_calls": 0,
                "accepted_at": self._clock.time(),
            },
        )
        return id

    async def steps_of(self, run: str) -> dict[StepKey, RecordedStep]:
        """The finished steps of a run."""
        rows = await self._store.read(select(steps).where(steps.c.run_id == run))
        return {
            StepKey(row.predictor, row.input_hash, row.occurrence): RecordedStep(
                load_json(row.outputs), row.parameters_version, Usage(row.input_tokens, row.output_tokens)
            )
            for row in rows
        }

    def record_step(
        self, run: str, key: StepKey, outputs: Mapping[str, Any], prediction: Prediction, seconds: float
    ) -> asyncio.Future[None]:
        """Record a finished step; on disk when the future is done."""
        return self._store.write(
            _RECORD_STEP,
            {
                "run_id": run,
                "predictor": key.predictor,
                "input_hash": key.input_hash,
                "occurrence": key.occurrence,
                "outputs": _json(outputs),
                "parameters_version": prediction.parameters_version,
                "input_tokens": prediction.usage.input_tokens,
                "output_tokens": prediction.usage.output_tokens,
                "seconds": seconds,
            },
        )

    async def finish(self, run: str, prediction: Prediction, outputs: Mapping[str, Any], seconds: float) -> None:
        """Record that a run ended well; return once that is on disk."""
        await self._finish(run, "ok", prediction.usage, prediction.lm_calls, seconds, outputs=_json(outputs))

    async def fail(self, run: str, error: RepertoryError, usage: Usage, lm_calls: int, seconds: float) -> None:
        """Record that a run failed, and what it cost; it may be run again under the same key."""
        await self._finish(run, "failed", usage, lm_calls, seconds, error=error)

    async def _finish(
        self,
        run: str,
        status: str,
        usage: Usage,
        lm_calls: int,
        seconds: float,
        *,
        outputs: str | None = None,
        error: RepertoryError | None = None,
    ) -> None:
        await self.writes.write(
            _FINISH,
            {
                "of_run": run,
                "new_status": status,
                "new_outputs": outputs,
                "new_error_code": error.code if error is not None else None,
                "new_error_message": _text(error.message) if error is not None else None,
                "new_input_tokens": usage.input_tokens,
                "new_output_tokens": usage.output_tokens,
                "new_lm_calls": lm_calls,
                "new_seconds": seconds,
                "new_finished_at": self._clock.time(),
            },
        )


def run_id(program: str, key: str) -> str:
    """The id of the run of ``program`` under ``key``: the same wherever and whenever it is asked for."""
    return hashlib.blake2b(f"{program}\0{key}".encode(), digest_size=16).hexdigest()


def json_hash(*parts: Any) -> str:
    """A hash of JSON values that does not depend on the order of keys."""
    return hashlib.sha256(dump_json(parts, sort_keys=True)).hexdigest()


def _json(value: Mapping[str, Any]) -> str:
    return dump_json(value).decode()


def _text(text: str) -> str:
    """``text`` as any database can keep it: lone surrogates are not UTF-8, and PostgreSQL has no NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
