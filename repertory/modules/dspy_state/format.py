"""The state files of DSPy 2.5 and later: read, and checked to be what they should be.

Source: ``dump_state`` and ``save`` in dspy/primitives/base_module.py and dspy/predict/predict.py, releases 2.5.0
to 3.4.1. No pickle is ever loaded.
"""

import json
import math
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from repertory.errors import ConfigError
from repertory.signatures.source import clipped

MOST_BYTES: Final = 64 * 1024 * 1024  # of a state file; the largest seen have some hundred demonstrations
MOST_LEVELS: Final = 100  # of lists and objects in each other: orjson, with which DSPy writes, ends at 254

_BIGGEST: Final = 2**64 - 1

METADATA: Final = "metadata"  # the one entry of a file that is no predictor's
LONE: Final = "self"  # DSPy's name for the one predictor of a program that is this predictor

SECRETS: Final = frozenset(
    {"api_key", "authorization", "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "password"}
    | {"azure_ad_token", "client_secret", "secret", "token", "vertex_credentials", "x-api-key"}
)
"""Settings of a language model that are not read from a file: DSPy before 3.0.4 saved them."""


class _Saved(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


class SavedField(_Saved):
    """How a field is presented. DSPy saves no names: fields go by their order, inputs first."""

    prefix: str | None
    description: str | None


class SavedSignature(_Saved):
    """What is saved of a signature."""

    instructions: str
    fields: list[SavedField]


class SavedLM(_Saved):
    """A language model of a predictor's own; its other settings are in ``model_extra``."""

    model: str
    temperature: float | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)


class SavedPredictor(_Saved):
    """One predictor, in any of the formats.

    ``extended_signature`` (up to 2.5.43) is what a ChainOfThought really asked; ``signature_instructions`` and
    the like (up to 2.5.5) stand alone, without the fields.
    """

    demos: list[dict[str, Any]]
    traces: list[Any] = []
    train: list[Any] = []
    lm: SavedLM | None = None
    signature: SavedSignature | None = None
    extended_signature: SavedSignature | None = None
    signature_instructions: str | None = None
    extended_signature_instructions: str | None = None

    @property
    def asked(self) -> SavedSignature | None:
        """What the model was asked; None in states of before 2.5.6."""
        return self.extended_signature or self.signature

    @property
    def instructions(self) -> str:
        """The task in words."""
        if self.asked is not None:
            return self.asked.instructions
        stated = self.extended_signature_instructions
        return (self.signature_instructions or "") if stated is None else stated

    @property
    def fields(self) -> list[SavedField] | None:
        """How the fields are presented; None where that was not saved."""
        return self.asked.fields if self.asked is not None else None


@dataclass(frozen=True, slots=True)
class SavedState:
    """A whole file.

    Attributes:
        raw: Its entries as they are, without the secrets.
        predictors: Those that are a predictor's, checked.
        secrets: The names of the secret settings, by predictor.
        version: The DSPy that wrote it; None where the file does not say.
        lone: The program was a single Predict: the file is its state, and no list of such. It is called ``self``.
    """

    source: str
    raw: dict[str, Any]
    predictors: dict[str, SavedPredictor]
    secrets: dict[str, tuple[str, ...]]
    version: str | None
    lone: bool


def read_state(state: Mapping[str, object] | str | Path) -> SavedState:
    """The state in a file, or as ``dspy.Module.dump_state`` returns it.

    Raises:
        ConfigError: Naming the file, the place in it, the value and the remedy.
    """
    if isinstance(state, Mapping):
        source, said = "state", _copied("state", "", state, MOST_LEVELS)
    else:
        source = str(state)
        said = _copied(source, "", _decoded(Path(state)), MOST_LEVELS)
    if not isinstance(said, dict):
        raise _unfit(source, "", said, "expected an object with one entry for each predictor")
    version = _version(source, said)
    lone = isinstance(said.get("demos"), list)
    raw = {LONE: said} if lone else said
    if lone and METADATA in said:
        raw[METADATA] = said.pop(METADATA)
    entries = {path: entry for path, entry in raw.items() if path != METADATA}
    if not entries:
        raise ConfigError(f"{source}: has no predictor", hint="Write it with: program.save('state.json')")
    secrets = {path: _without_secrets_of_lm(entry) for path, entry in entries.items()}
    predictors = {path: _predictor(source, "" if lone else path, entry) for path, entry in entries.items()}
    return SavedState(source, raw, predictors, secrets, version, lone)


def _decoded(path: Path) -> object:
    """What the file says. No more than a state can be is read of it."""
    try:
        is_directory, is_file = path.is_dir(), path.is_file()
    except OSError as error:  # such as a name that is too long
        raise ConfigError(
            f"{clipped(str(path), 200)}: {error.strerror}", hint="Check the path; it is relative to where you are."
        ) from None
    if is_directory:
        raise ConfigError(
            f"{path}: is a directory: a pickled program (save_program=True), and no pickle is ever loaded",
            hint="Save the state alone, in DSPy: program.save('state.json')",
        )
    if path.suffix in (".pkl", ".pickle"):
        raise ConfigError(
            f"{path}: is a pickle, which can run any code: none is ever loaded",
            hint="Save it as JSON, in DSPy: program.save('state.json')",
        )
    if not is_file:
        raise ConfigError(f"{path}: no such file", hint="Check the path; it is relative to where you are.")
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="Make it readable.") from None
    if len(content) > MOST_BYTES:
        raise ConfigError(
            f"{path}: has more than {MOST_BYTES // 2**20} MiB",
            hint="A state holds instructions and demonstrations; take fewer of these.",
        )
    try:
        return json.loads(content.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is one
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(
            f"{path}: is not JSON: {reason}", hint="Write it with: program.save('state.json')"
        ) from None


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is no number in JSON")


def _copied(source: str, where: str, value: object, levels: int) -> Any:
    """``value`` in lists and dicts of its own. Raises ConfigError unless it is JSON."""
    match value:
        case None | bool():
            return value
        case int():
            if not -_BIGGEST <= value <= _BIGGEST:
                raise _unfit(source, where, ..., f"an integer of {value.bit_length()} bits: DSPy writes up to 64")
            return value
        case float() if math.isfinite(value):
            return value
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise _unfit(source, where, value, "half of a character (a lone surrogate)") from None
            return value
        case _ if levels == 0:
            raise _unfit(source, where, value, f"nested deeper than {MOST_LEVELS} levels")
        case list() | tuple():
            return [_copied(source, f"{where}[{n}]", each, levels - 1) for n, each in enumerate(value)]
        case Mapping():
            return {
                _key(source, where, key): _copied(source, _below(where, str(key)), each, levels - 1)
                for key, each in value.items()
            }
    raise _unfit(source, where, value, f"JSON cannot hold it: {type(value).__name__}")


def _key(source: str, where: str, key: object) -> str:
    if not isinstance(key, str):
        raise _unfit(source, where, key, "expected text as key")
    _copied(source, where, key, 0)
    return key


def _without_secrets_of_lm(entry: object) -> tuple[str, ...]:
    return tuple(_without_secrets(entry.get("lm"))) if isinstance(entry, dict) else ()


def _without_secrets(settings: object) -> Iterator[str]:
    """Remove the secrets from the settings of a language model; tell the names of those there were."""
    if isinstance(settings, list):
        for each in settings:
            yield from _without_secrets(each)
    if isinstance(settings, dict):
        for name in list(settings):
            if name.lower() in SECRETS and settings[name] is not None:
                del settings[name]
                yield name
            else:
                yield from _without_secrets(settings[name])


def _predictor(source: str, path: str, entry: object) -> SavedPredictor:
    path = clipped(path)
    if not isinstance(entry, dict):
        raise _unfit(source, path, entry, "expected the state of a predictor, an object")
    if "signature" not in entry and "signature_instructions" not in entry:
        raise ConfigError(
            f"{source}: {path or 'the predictor'} has no `signature`: it is no state of DSPy 2.5 or later",
            hint="Load it in the DSPy that wrote it, and save it with a later one.",
        )
    try:
        return SavedPredictor.model_validate(entry)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = path
        for step in fault["loc"]:
            where = f"{where}[{step}]" if isinstance(step, int) else _below(where, step)
        value = None if fault["type"] == "missing" else fault["input"]
        raise _unfit(source, where, value, fault["msg"]) from None


def _version(source: str, said: dict[str, Any]) -> str | None:
    metadata = said.get(METADATA)
    if metadata is None:
        return None
    versions = metadata.get("dependency_versions") if isinstance(metadata, dict) else None
    if not isinstance(versions, dict):
        raise _unfit(source, METADATA, metadata, "expected an object with `dependency_versions`")
    version = versions.get("dspy")
    if version is not None and not isinstance(version, str):
        raise _unfit(source, "metadata.dependency_versions.dspy", version, "expected a version, such as '3.4.1'")
    return version


def _below(where: str, key: str) -> str:
    return f"{where}.{clipped(key)}" if where else clipped(key)


def _unfit(source: str, where: str, value: object, reason: str) -> ConfigError:
    place = f"{source}: {where}" if where else source
    return ConfigError(
        f"{place} = {reprlib.repr(value)}: {reason}",
        hint="Write the state anew, in DSPy: program.save('state.json')",
    )
