"""The output directory of a batch: results, rejects, summary, and the journal it can be resumed from."""

import fcntl
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

import orjson
from pydantic_core import to_jsonable_python

from repertory.errors import ConfigError, StoreError
from repertory.runtime.batch import Answered, Failed, Outcome
from repertory.runtime.rows import Reject
from repertory.signatures.json_text import dump_json


class OutputDirectory:
    """Files in ``path``, written by one process at a time.

    Invariants: every line of a file is whole (each is written by one call); ``summary.json`` is there only
    after a batch has ended. Results and rejects begin anew in each invocation (`begin`): what was answered
    earlier comes back from the journal, so the files are complete and in order however often the batch was
    interrupted. An invocation that fails before it begins leaves those of the one before.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.summary_path = path / "summary.json"
        self.journal_path = path / "journal.db"
        self._files = ExitStack()
        self._results: BinaryIO
        self._rejects: BinaryIO

    def __enter__(self) -> Self:
        """Take possession of the directory. Raises ConfigError if it cannot be written or is in use."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = self._files.enter_context((self.path / ".lock").open("ab", buffering=0))
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._files.close()
            raise ConfigError(
                f"{self.path}: another run is writing there", hint="Wait for it, or choose another --out."
            ) from None
        return self

    def __exit__(self, *_exc: object) -> None:
        self._files.close()

    def begin(self) -> None:
        """Empty the files. Raises ConfigError if they cannot be written."""
        try:
            self.summary_path.unlink(missing_ok=True)
            self._results = self._emptied("results.jsonl")
            self._rejects = self._emptied("rejects.jsonl")
        except OSError as error:
            raise self._unwritable(error) from None

    def write(self, outcome: Outcome) -> None:
        """Append one line. Raises StoreError if the disk refuses it."""
        match outcome:
            case Answered():
                self._append(self._results, _result_line(outcome))
            case Failed():
                self._append(self._results, _failure_line(outcome))
            case Reject(line, field, reason, hint):
                self._append(self._rejects, {"line": line, "field": field, "reason": reason, **_hint(hint)})

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Put ``summary.json`` in place, whole. Raises StoreError if the disk refuses it."""
        text = orjson.dumps(summary, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        draft = self.summary_path.with_suffix(".tmp")
        try:
            draft.write_bytes(text)
            os.replace(draft, self.summary_path)
        except OSError as error:
            raise self._lost(error) from None

    def _emptied(self, name: str) -> BinaryIO:
        return self._files.enter_context((self.path / name).open("wb", buffering=0))

    def _append(self, file: BinaryIO, values: Mapping[str, Any]) -> None:
        line = memoryview(dump_json(values) + b"\n")
        end = file.tell()
        try:
            while line:  # a short write means the disk is full; the next one says so
                line = line[file.write(line) :]
        except OSError as error:
            with suppress(OSError):
                file.truncate(end)
            raise self._lost(error) from None

    def _lost(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self.path}: cannot be written: {error.strerror}",
            hint="Free some space; the same command then goes on where this one stopped.",
        )

    def _unwritable(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"{self.path}: cannot be written: {error.strerror}",
            hint="Choose a writable directory with --out.",
        )


def _result_line(outcome: Answered) -> dict[str, Any]:
    row, run = outcome.row, outcome.run
    usage = run.prediction.usage
    return {
        "id": run.id,
        "input_id": row.id,
        "line": row.line,
        "status": "ok",
        "outputs": to_jsonable_python(run.prediction.outputs),
        "usage": {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens},
        "lm_calls": run.prediction.lm_calls,
        "latency_ms": round(run.seconds * 1000, 3),
    }


def _failure_line(outcome: Failed) -> dict[str, Any]:
    row, error = outcome.row, outcome.error
    return {
        "id": outcome.run_id,
        "input_id": row.id,
        "line": row.line,
        "status": "failed",
        "error": {"code": error.code, "message": error.message, **_hint(error.hint)},
    }


def _hint(hint: str | None) -> dict[str, str]:
    return {"hint": hint} if hint else {}
